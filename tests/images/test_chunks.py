"""Reading windows of an image in chunks: which chunks are decoded, how often, and error messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunks import ChunkedReader, ChunkGrid, ChunkKey, levels_of
from fitcli.images.window import Window


class CountingGrid(ChunkGrid):
    """An image of 100 x 100 pixels in chunks of 32 x 32 that counts how often each is decoded."""

    def __init__(self) -> None:
        self.height = self.width = 100
        self.channels = self.plane_channels = 1
        self.dtype = np.dtype(np.uint8)
        self.chunk = 32, 32
        self.pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 1), np.uint8)
        self.decoded: list[ChunkKey] = []

    def decode(self, key: ChunkKey) -> Pixels:
        self.decoded.append(key)
        return self.pixels[key[1] * 32 : key[1] * 32 + 32, key[2] * 32 : key[2] * 32 + 32]


@pytest.fixture
def grid() -> CountingGrid:
    return CountingGrid()


@pytest.fixture
def reader(grid: CountingGrid) -> ChunkedReader:
    info = ImageInfo(height=100, width=100, channels=1, dtype=np.dtype("u1"), levels=levels_of([grid]))
    return ChunkedReader(Path("image"), info, [grid])


def test_overlapping_windows_decode_each_chunk_once(grid: CountingGrid, reader: ChunkedReader):
    for top in range(0, 100, 20):
        for left in range(0, 100, 20):
            window = Window(top, left, 30, 30)
            expected = grid.pixels[:100, :100][top : top + 30, left : left + 30]
            np.testing.assert_array_equal(reader.read(window), expected)
    assert sorted(grid.decoded) == sorted(set(grid.decoded))
    assert len(grid.decoded) == 16


def test_whole_chunks_are_not_kept(grid: CountingGrid, reader: ChunkedReader):
    for _ in range(2):
        reader.read(Window(0, 64, 64, 36))
    assert len(grid.decoded) == 2 * 4


def test_any_error_names_the_chunk(grid: CountingGrid, reader: ChunkedReader, monkeypatch: pytest.MonkeyPatch):
    def fail(key: ChunkKey) -> Pixels:
        raise KeyError("oh\nno")

    monkeypatch.setattr(grid, "decode", fail)
    with pytest.raises(ImageError, match=r"image: level 0, chunk in row 1, column 2 cannot be decoded \('oh"):
        reader.read(Window(40, 70, 5, 5))


def test_chunk_that_is_too_small_is_an_error(grid: CountingGrid, reader: ChunkedReader):
    grid.pixels = grid.pixels[:20]
    with pytest.raises(ImageError, match="lacks pixels"):
        reader.read(Window(0, 0, 30, 30))


def test_level_of_odd_size_is_half_size():
    base, half, other = CountingGrid(), CountingGrid(), CountingGrid()
    half.height, half.width = 50, 49
    base.width = 99
    other.height, other.width = 30, 30
    assert [level.downsample for level in levels_of([base, half, other])] == [1, 2, (100 / 30 + 99 / 30) / 2]
