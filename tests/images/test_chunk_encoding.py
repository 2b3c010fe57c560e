"""Other libraries decode the encoded chunks."""

from __future__ import annotations

import io
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fitcli.images.base import Pixels
from fitcli.images.chunk_encoding import jpeg_encoder, tiff_encoder, tiff_predictor, zarr_encoder, zstd_encoder


def noise(channels: int, dtype: str) -> Pixels:
    return np.random.default_rng(0).integers(0, 200, (16, 32, channels)).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
def test_pillow_reads_jpeg(channels: int) -> None:
    rows, columns, _ = np.ogrid[:64, :48, :channels]
    pixels = np.broadcast_to(40 + rows + columns, (64, 48, channels)).astype(np.uint8)
    sizes = []
    for quality in (20, 95):
        data = jpeg_encoder(quality)(np.ascontiguousarray(pixels))
        sizes.append(len(data))
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == {1: "L", 3: "RGB"}[channels]
            assert "progressive" not in image.info
            decoded = np.asarray(image).reshape(pixels.shape)
    assert sizes[0] < sizes[1]
    assert np.abs(decoded.astype(int) - pixels).max() <= 2


def undone(data: bytes, pixels: Pixels, predictor: int) -> Pixels:
    """Undo the TIFF predictors (TIFF 6.0 section 14, and technical note 3) in the slow obvious way."""
    height, width, channels = pixels.shape
    if predictor == 2:
        return np.cumsum(np.frombuffer(data, pixels.dtype).reshape(pixels.shape), axis=1, dtype=pixels.dtype)
    planes = np.frombuffer(data, np.uint8).reshape(height, -1, channels)  # the highest bytes of a row come first
    planes = np.cumsum(planes, axis=1, dtype=np.uint8).reshape(height, pixels.dtype.itemsize, width, channels)
    whole: Pixels = np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).view(pixels.dtype.newbyteorder(">"))[..., 0]
    return whole


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
@pytest.mark.parametrize("compression", ["deflate", "zstd", "lzw", "none"])
def test_tiff_chunks(compression: Any, dtype: str) -> None:
    pixels = noise(3, dtype)
    data = tiff_encoder(compression, quality=90)(pixels)
    unpacked = {
        "deflate": zlib.decompress,
        "zstd": imagecodecs.zstd_decode,
        "lzw": imagecodecs.lzw_decode,
        "none": bytes,
    }
    raw, predictor = unpacked[compression](data), tiff_predictor(compression, pixels.dtype)
    assert predictor == {"none": 1}.get(compression, 3 if dtype[0] == "f" else 2)
    decoded = (
        np.frombuffer(raw, pixels.dtype).reshape(pixels.shape) if predictor == 1 else undone(raw, pixels, predictor)
    )
    np.testing.assert_array_equal(decoded, pixels)


def test_jpeg_has_no_predictor() -> None:
    assert tiff_predictor("jpeg", np.dtype("u1")) == 1
    assert tiff_encoder("jpeg", quality=90)(noise(3, "u1"))[:2] == b"\xff\xd8"


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4"])
@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_zarr_chunks_are_little_endian(compression: Any, dtype: str) -> None:
    pixels = noise(3, dtype)
    data = zarr_encoder(compression)(pixels)
    raw = imagecodecs.zstd_decode(data) if compression == "zstd" else data
    assert raw == pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()


def test_zstd_has_a_checksum() -> None:
    data = zstd_encoder()(noise(1, "u1"))
    assert data[4] & 4, "Content_Checksum_flag (RFC 8878, section 3.1.1.1.1)"
    with pytest.raises(imagecodecs.ZstdError, match="checksum"):
        imagecodecs.zstd_decode(data[:-1] + bytes([data[-1] ^ 1]))
