"""zarr-python reads shards that were written chunk by chunk."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr import codecs

from fitcli.images.base import Pixels
from fitcli.images.zarr.shards import ShardedArray

CHUNK, SIDE, ROWS, COLUMNS = 4, 3, 5, 7
SHAPE = 2, ROWS * CHUNK, COLUMNS * CHUNK

PLACES = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]


def metadata_only(path: Path, planes: int) -> zarr.Array:
    """Let zarr create an array without chunks."""
    return zarr.create_array(
        str(path),
        shape=SHAPE,
        chunks=(2 // planes, CHUNK, CHUNK),
        shards=(2, SIDE * CHUNK, SIDE * CHUNK),
        dtype="u2",
        compressors=None,
        serializer=codecs.BytesCodec(endian="little"),
    )


def put(array: ShardedArray, planes: int, pixels: Pixels, place: tuple[int, int]) -> None:
    row, column = place
    chunk = pixels[:, row * CHUNK : (row + 1) * CHUNK, column * CHUNK : (column + 1) * CHUNK]
    array.put(row, column, [part.tobytes() for part in np.split(chunk, planes)])


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("threads", [1, 4])
def test_zarr_reads_the_chunks(tmp_path: Path, planes: int, threads: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**16, SHAPE, np.uint16)
    stored, array = metadata_only(tmp_path, planes), ShardedArray(tmp_path, (ROWS, COLUMNS), planes, SIDE)
    places = random.Random(0).sample(PLACES, len(PLACES))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda place: put(array, planes, pixels, place), places))
    np.testing.assert_array_equal(stored[...], pixels)
    root = tmp_path / "c"
    files = sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())
    assert files == [f"0/{row}/{column}" for row in range(2) for column in range(3)]
    before = {file: (root / file).read_bytes() for file in files}
    array.finish()
    assert before == {file: (root / file).read_bytes() for file in files}, "all were complete"


def test_chunks_that_are_never_put_are_zero(tmp_path: Path) -> None:
    pixels, expected = np.full(SHAPE, 7, np.uint16), np.zeros(SHAPE, np.uint16)
    stored, array = metadata_only(tmp_path, 1), ShardedArray(tmp_path, (ROWS, COLUMNS), 1, SIDE)
    for row, column in ((0, 0), (2, 2), (4, 6)):
        put(array, 1, pixels, (row, column))
        expected[:, row * CHUNK : (row + 1) * CHUNK, column * CHUNK : (column + 1) * CHUNK] = 7
    array.finish()
    np.testing.assert_array_equal(stored[...], expected)
    assert len([file for file in (tmp_path / "c").rglob("*") if file.is_file()]) == 2
