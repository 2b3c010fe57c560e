"""What is kept of decoded chunks, and how often they are decoded."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunk_cache import LARGEST_BYTES, ChunkCache
from fitcli.images.chunks import ChunkedReader, ChunkGrid, ChunkKey, levels_of
from fitcli.images.decode_pool import run_all
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


def ones(count: int) -> Pixels:
    return np.ones((count, 1, 1), np.uint8)


def test_cache_drops_what_was_used_longest_ago():
    cache = ChunkCache(limit_bytes=10)
    for key in "abc":
        cache.get_or_load(key, lambda: ones(4))
    assert cache.get("a") is None
    cache.get_or_load("b", lambda: ones(99))
    cache.get_or_load("d", lambda: ones(4))
    assert (cache.get("c"), cache.get("b") is None) == (None, False)


def test_cache_keeps_one_chunk_whatever_its_size():
    cache = ChunkCache(limit_bytes=10)
    cache.get_or_load("small", lambda: ones(4))
    cache.get_or_load("large", lambda: ones(40))
    assert cache.get("small") is None
    assert cache.get("large") is not None


def test_cache_grows_with_what_a_window_needs_up_to_a_limit():
    cache = ChunkCache(limit_bytes=10)
    cache.reserve(20)
    assert cache.limit_bytes == 20
    cache.reserve(1 << 40)
    assert cache.limit_bytes == LARGEST_BYTES


def test_threads_load_a_chunk_once():
    cache, loads, started = ChunkCache(), [], threading.Barrier(8)

    def load() -> Pixels:
        loads.append(1)
        return ones(3)

    def get(_: int) -> Pixels:
        started.wait()
        return cache.get_or_load("key", load)

    with ThreadPoolExecutor(8) as pool:
        assert len({id(pixels) for pixels in pool.map(get, range(8))}) == 1
    assert len(loads) == 1


def test_failing_load_is_tried_again():
    cache = ChunkCache()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("key", lambda: ones(1 // 0))
    assert cache.get_or_load("key", lambda: ones(2)).shape == (2, 1, 1)


def test_all_items_are_run_and_errors_come_through():
    done: list[int] = []
    run_all(done.append, range(100))
    assert sorted(done) == list(range(100))
    with pytest.raises(ZeroDivisionError):
        run_all(lambda item: 1 // (item - 50), range(100))
