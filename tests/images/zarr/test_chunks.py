"""Chunk files of a store: missing, damaged, and outside of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.zarr import chunks
from fitcli.images.zarr.chunks import ShardFiles, StoreFiles, ZarrGrid
from fitcli.images.zarr.codecs import ChunkDecoder, ShardIndex
from tests.images.zarr.test_reader import VARIETIES, picture, write_array


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("sharded", [False, True])
def test_missing_chunks_are_fill(tmp_path: Path, zarr_format: int, sharded: bool):
    if sharded and zarr_format == 2:
        pytest.skip("format 2 has no shards")
    options: Any = {"shards": (96, 96)} if sharded else {}
    array = zarr.create_array(
        str(tmp_path / "image"),
        shape=(200, 200),
        dtype="f4",
        chunks=(32, 32),
        fill_value=np.nan,
        zarr_format=zarr_format,
        **options,
    )
    array[:40, 150:] = 3
    with open_image(tmp_path / "image") as reader:
        np.testing.assert_array_equal(read_all(reader)[:, :, 0], array[...])


def test_missing_fill_value_is_zero(tmp_path: Path):
    zarr.create_array(str(tmp_path / "image"), shape=(20, 20), dtype="u1", chunks=(10, 10), zarr_format=2)
    document = json.loads((tmp_path / "image" / ".zarray").read_text()) | {"fill_value": None}
    (tmp_path / "image" / ".zarray").write_text(json.dumps(document))
    with open_image(tmp_path / "image") as reader:
        assert not read_all(reader).any()


def chunk_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".json" and file.name[0] != ".")


@pytest.mark.parametrize("name", ["v3_default", "v3_raw", "v3_gzip", "v3_blosc", "v3_sharded", "v2_default", "v2_lz4"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.99])
def test_truncated_chunk_is_an_error(tmp_path: Path, name: str, keep: float):
    VARIETIES[name](tmp_path / "image")
    file = chunk_files(tmp_path / "image")[0]
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    with open_image(tmp_path / "image") as reader, pytest.raises(ImageError, match="level 0, chunk in row"):
        read_all(reader)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_out_of_the_store_are_refused(tmp_path: Path, what: str):
    path, outside = tmp_path / "image", tmp_path / "outside"
    write_array(path, picture(1)[:, :, 0], chunks=(64, 64), compressors=None)
    inside = path / "c" / "0"
    if what == "file":
        inside = inside / "0"
    inside.rename(outside)
    inside.symlink_to(outside)
    with open_image(path) as reader, pytest.raises(ImageError, match="leads out of the zarr store"):
        read_all(reader)


def test_pipe_among_the_chunks_is_an_error(tmp_path: Path):
    write_array(tmp_path / "image", picture(1)[:, :, 0], chunks=(64, 64))
    (tmp_path / "image" / "c" / "0" / "0").unlink()
    os.mkfifo(tmp_path / "image" / "c" / "0" / "0")
    with open_image(tmp_path / "image") as reader, pytest.raises(ImageError, match="not a regular file"):
        read_all(reader)


def test_links_within_the_store_and_to_it_are_followed(tmp_path: Path):
    path = tmp_path / "image"
    write_array(path, picture(1)[:, :, 0], chunks=(64, 64))
    (path / "c" / "0" / "0").rename(path / "moved")
    (path / "c" / "0" / "0").symlink_to(path / "moved")
    (tmp_path / "link").symlink_to(path)
    with open_image(tmp_path / "link") as reader:
        assert_equal(read_all(reader), picture(1))


@pytest.mark.parametrize("axes", ["yx", "cyx", "yxc", "tczyx", "xyc"])
def test_chunks_are_turned_to_channels_last(axes: str):
    sizes = {"y": 5, "x": 7, "c": 3, "t": 1, "z": 1}
    shape = tuple(sizes[axis] for axis in axes)
    array = np.arange(np.prod(shape)).reshape(shape)
    grid = ZarrGrid(axes, shape, shape, array.dtype, None, lambda place: array)
    expected = np.einsum(f"{axes}->{''.join(axis for axis in 'yxctz' if axis in axes)}", array)
    assert_equal(grid.decode((0, 0, 0)), expected.reshape(5, 7, -1))


def test_recent_shards_are_not_opened_for_their_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    index = np.full((1, 2, 2), 2**64 - 1, np.uint64)
    index[0, 1] = 0, 4
    for name in "012":
        (tmp_path / name).write_bytes(bytes([int(name)]) * 4 + index.tobytes())
    layout = ShardIndex((1, 2), at_end=True, checksum=False)
    monkeypatch.setattr(chunks, "KEPT_INDEX_BYTES", 2 * layout.size)
    decoded: list[int] = []
    monkeypatch.setattr(ShardIndex, "decode", lambda self, data: decoded.append(1) or index)
    decoder = ChunkDecoder((2, 2), np.dtype("u1"), (0, 1), None)
    fetch = ShardFiles(StoreFiles(tmp_path, tmp_path), lambda place: str(place[0]), decoder, layout)
    for shard, times in ((0, 1), (0, 1), (1, 2), (0, 2), (2, 3), (0, 4), (2, 4)):
        pixels = fetch((shard, 1))
        assert pixels is not None
        assert pixels.tolist() == [[shard] * 2] * 2
        assert fetch((shard, 0)) is None
        assert len(decoded) == times
