"""Small files that decode to the largest accepted chunks: memory stays within the promise, measured from outside."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from campaign import MEMORY, SECONDS, Worker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="measures memory through /proc"),
]

SIDE = 9400
"""SIDE x SIDE x 3 bytes are just below the largest accepted chunk."""


def one_strip(codec: str, **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        tifffile.imwrite(path, pixels, compression=codec, rowsperstrip=SIDE, photometric="rgb", **options)

    return write


def four_chunks(path: Path) -> None:
    """Write an array in which a window around the middle touches four chunks of 200 MB each."""
    side = 14000
    zarr.create_array(str(path), shape=(2 * side, 2 * side), chunks=(side, side), dtype="u1", zarr_format=2)
    encoded = numcodecs.Zstd().encode(np.zeros((side, side), np.uint8))
    for name in ("0.0", "0.1", "1.0", "1.1"):
        (path / name).write_bytes(encoded)


BOMBS = {
    "deflate": one_strip("deflate"),
    "predictor": one_strip("zstd", predictor=2),
    "big-endian": one_strip("zstd", byteorder=">"),
    "lzw": one_strip("lzw"),
    "jpeg": one_strip("jpeg"),
    "jpeg2000": one_strip("jpeg2000"),
    "webp": one_strip("webp"),
    "zarr": four_chunks,
}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("warm")
    for codec in ("zlib", "zstd", "lzw", "jpeg"):
        tifffile.imwrite(folder / codec, np.zeros((32, 32, 3), np.uint8), compression=codec)
    zarr.create_array(str(folder / "zarr"), shape=(8, 8), chunks=(8, 8), dtype="u1")[...] = 1
    worker = Worker(folder)
    yield worker
    worker.stop()


@pytest.mark.parametrize("name", BOMBS)
def test_largest_chunks_stay_within_the_promise(tmp_path: Path, worker: Worker, name: str) -> None:
    BOMBS[name](tmp_path / "image")
    answer = worker.judge(tmp_path / "image")
    assert answer["outcome"] in ("pixels", "ImageError"), answer
    assert answer["memory"] < MEMORY
    assert answer["seconds"] < SECONDS
