"""Small files that ask for much memory or time are read or refused within the promise, measured from outside."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from bombs import BOMBS, change_v2, tiff
from campaign import MEMORY, Worker
from PIL import Image

from fitcli.images.tiff.compressions import CODECS
from fitcli.images.zarr.codecs import DECOMPRESSORS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measures memory through /proc")

WHOLE_MEMORY = {"qoi": 1.5e9}
"""Memory of pictures that are decoded whole, in bytes, per kind."""

SLOW = {"tiff-png-size", "tiff-png-samples", "tiff-jpegxl-channels", "gif-frames", "gif-comments", "bmp-runs", "qoi"}
SLOW |= {
    "png-empty-parts",
    "pgm-plain",
    "pgm-comments",
    "tiff-shaped-axes",
    "tiff-lzma-dictionary",
    "tiff-bits",
    "tga",
    "jpeg-segments",
}
"""Kinds that take more than a second to write or to refuse."""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("warm")
    for codec in ("zlib", "zstd", "lzw", "jpeg", "jpegxl"):
        tifffile.imwrite(folder / codec, np.zeros((32, 32, 3), np.uint8), compression=codec)
    Image.new("L", (8, 8)).save(folder / "jpeg-2000", "JPEG2000")
    zarr.create_array(str(folder / "zarr"), shape=(8, 8), chunks=(8, 8), dtype="u1")[...] = 1
    worker = Worker(folder)
    yield worker
    worker.stop()


def promise_holds(answer: dict[str, Any], memory: float = MEMORY) -> None:
    """Check an answer. A busy machine makes everything slow, so only the patience of the campaign bounds the time."""
    assert answer["outcome"] in ("pixels", "ImageError"), answer
    assert answer["memory"] < memory
    assert not answer["outside"]


@pytest.mark.walk(8)
@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in BOMBS])
def test_a_small_file_takes_neither_memory_nor_time(tmp_path: Path, worker: Worker, name: str) -> None:
    BOMBS[name](tmp_path / "image")
    promise_holds(worker.judge(tmp_path / "image"), WHOLE_MEMORY.get(name, MEMORY))


BIG, SMALL = np.zeros((4000, 4000), np.uint8), np.zeros((8, 8), np.uint8)


def lerc(pixels: Any) -> bytes:
    return imagecodecs.lerc_encode(pixels)


ENCODERS: dict[int, Callable[[Any], bytes]] = (
    dict.fromkeys((1, 2, 3, 4, 65000, 65001, 65002), lambda pixels: pixels.tobytes())
    | dict.fromkeys((8, 32946, 50013), lambda pixels: zlib.compress(pixels.tobytes() * 16))
    | dict.fromkeys((34926, 50000), lambda pixels: imagecodecs.zstd_encode(pixels.tobytes() * 32))
    | dict.fromkeys((6, 7, 33007, 34892), imagecodecs.jpeg8_encode)
    | dict.fromkeys((33003, 33004, 33005, 34712), lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k"))
    | dict.fromkeys((34927, 50001), lambda pixels: imagecodecs.webp_encode(np.dstack([pixels] * 3), lossless=True))
    | dict.fromkeys((50002, 52546), lambda pixels: imagecodecs.jpegxl_encode(pixels, effort=1))
    | dict.fromkeys((22610, 34934), imagecodecs.jpegxr_encode)
    | {
        5: lambda pixels: imagecodecs.lzw_encode(pixels.tobytes()),
        32773: lambda pixels: b"\x81\0" * (-(-pixels.size // 128)),  # runs of 128 zeros
        34925: lambda pixels: lzma.compress(pixels.tobytes()),
        34887: lerc,
        34933: imagecodecs.png_encode,
    }
)
"""Encoder per value of the Compression tag."""


def test_every_codec_has_a_forgery() -> None:
    assert set(ENCODERS) == set(CODECS)
    assert set(COMPRESSORS) == set(DECOMPRESSORS)


@pytest.mark.walk(12)
@pytest.mark.parametrize("what", ["larger", "smaller", "cut off"])
@pytest.mark.parametrize("code", ENCODERS)
def test_a_chunk_of_a_tiff_that_is_not_as_declared(tmp_path: Path, worker: Worker, code: int, what: str) -> None:
    data = ENCODERS[code](SMALL if what == "smaller" else BIG)
    if what == "cut off":
        data = data[: len(data) // 2]
    (tmp_path / "image").write_bytes(tiff(data, code, side=32 if what == "larger" else 4000))
    promise_holds(worker.judge(tmp_path / "image"), 40e6 if what == "larger" else MEMORY)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": imagecodecs.zstd_encode,
    "blosc": numcodecs.Blosc().encode,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "lz4": numcodecs.LZ4().encode,
    "bz2": bz2.compress,
    "lzma": lzma.compress,
}
"""Encoder per codec of zarr."""


@pytest.mark.walk
@pytest.mark.parametrize("what", ["larger", "smaller", "forged header"])
@pytest.mark.parametrize("name", COMPRESSORS)
def test_a_chunk_of_a_zarr_that_is_not_as_declared(tmp_path: Path, worker: Worker, name: str, what: str) -> None:
    data = bytearray(COMPRESSORS[name](bytes(64 << 20) if what == "larger" else bytes(1000)))
    if what == "forged header":  # LZ4 and blosc begin with sizes, the others with flags
        place = {"blosc": 4, "lz4": 0}.get(name, 5)
        struct.pack_into("<I", data, place, 2**31 - 1)
    change_v2(tmp_path / "image", lambda document: document.update(compressor={"id": name}), bytes(data))
    promise_holds(worker.judge(tmp_path / "image"), 40e6)
