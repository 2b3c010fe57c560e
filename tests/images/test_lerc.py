"""Headers of LERC pictures that its library wrote."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from fitcli.images.lerc import lerc_bytes, unpacked_lerc
from fitcli.images.open import open_image
from fitcli.images.window import Window


@pytest.mark.parametrize("version", [2, 3, 4, 5, 6, None])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_size(version: int | None, dtype: str) -> None:
    pixels = np.arange(37 * 61).reshape(37, 61).astype(dtype)
    assert lerc_bytes(imagecodecs.lerc_encode(pixels, version=version)) == pixels.nbytes


@pytest.mark.parametrize("planar", [False, True])
def test_channels(planar: bool) -> None:
    pixels = np.zeros((3, 37, 61) if planar else (37, 61, 3), np.uint16)
    assert lerc_bytes(imagecodecs.lerc_encode(pixels, planar=planar)) == pixels.nbytes


@pytest.mark.parametrize("data", [b"", b"Lerc2 ", b"CntZImage " + bytes(50), bytes(100), b"Lerc2 \1\0\0\0" + bytes(90)])
def test_damaged_headers(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"LERC|header is"):
        lerc_bytes(data)


PACKED = {
    "none": lambda data: data,
    "deflate": lambda data: zlib.compress(data),
    "zstd": lambda data: bytes(imagecodecs.zstd_encode(data)),
}


@pytest.mark.parametrize("packing", PACKED)
def test_what_gdal_compresses_once_more(packing: str) -> None:
    data = imagecodecs.lerc_encode(np.arange(37 * 61).reshape(37, 61).astype("u2"))
    packed = PACKED[packing](data)
    assert unpacked_lerc(packed, len(data)) == data
    assert unpacked_lerc(packed, 10 * len(data)) == data
    if packing != "none":
        with pytest.raises(ValueError, match=r"more than|larger than"):
            unpacked_lerc(packed, len(data) - 1)
        with pytest.raises(ValueError, match=r"damaged|LERC|header is"):
            lerc_bytes(unpacked_lerc(packed[:20] + bytes(20) + packed[40:], len(data)))


@pytest.mark.parametrize("packing", ["deflate", "zstd"])
def test_a_bomb_is_refused(packing: str) -> None:
    bomb = PACKED[packing](b"Lerc2 " + bytes(1 << 26))
    assert len(bomb) < 1 << 17
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"more than|larger than"):
        unpacked_lerc(bomb, 1 << 16)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
def test_tiffs_of_gdal_and_tifffile(tmp_path: Path, packing: str, dtype: str) -> None:
    pixels = (np.random.default_rng(0).random((50, 70, 3)) * 100).astype(dtype)
    path = tmp_path / "a.tif"
    options = {} if packing == "none" else {"compression": packing}
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(32, 32), compression="lerc", compressionargs=options)
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(Window(0, 0, 50, 70)), pixels)
    rasterio = pytest.importorskip("rasterio")
    kind = {"none": "LERC", "deflate": "LERC_DEFLATE", "zstd": "LERC_ZSTD"}[packing]
    with rasterio.open(
        path, "w", driver="GTiff", height=50, width=70, count=3, dtype=pixels.dtype, compress=kind, MAX_Z_ERROR=0
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(Window(0, 0, 50, 70)), pixels)
