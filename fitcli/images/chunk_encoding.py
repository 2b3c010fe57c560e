"""Encodes the pixels of one chunk, by the name of a compression.

The encoders may be called from many threads; the codecs release the interpreter lock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import imagecodecs
import numpy as np

from fitcli.images.base import Pixels

Compression = Literal["jpeg", "deflate", "zstd", "lzw", "none"]
"""Name of a compression."""

Encoder = Callable[[Pixels], bytes]
"""Maps C-contiguous pixels in native byte order to encoded bytes."""


def jpeg_encoder(quality: int) -> Encoder:
    """Return an encoder of [height, width, 1 or 3] uint8 as baseline JPEG; colour is stored as YCbCr 4:2:0."""

    def encode(pixels: Pixels) -> bytes:
        if pixels.shape[2] == 1:
            return bytes(imagecodecs.jpeg8_encode(pixels[:, :, 0], level=quality))
        return bytes(
            imagecodecs.jpeg8_encode(pixels, level=quality, colorspace="rgb", outcolorspace="ycbcr", subsampling="420")
        )

    return encode


def tiff_encoder(compression: Compression, quality: int) -> Encoder:
    """Return an encoder of TIFF chunks [height, width, samples]; lossless ones use a predictor (`tiff_predictor`)."""
    if compression == "jpeg":
        return jpeg_encoder(quality)
    if compression == "none":
        return lambda pixels: _little_endian(pixels).tobytes()
    compress = _compressor(compression)

    def encode(pixels: Pixels) -> bytes:
        pixels = _little_endian(pixels)
        predict = imagecodecs.floatpred_encode if pixels.dtype.kind == "f" else imagecodecs.delta_encode
        return bytes(compress(predict(pixels, axis=-2)))

    return encode


def _compressor(compression: Compression) -> Callable[[Any], bytes | bytearray]:
    if compression == "zstd":
        return zstd_encoder()
    return imagecodecs.lzw_encode if compression == "lzw" else partial(imagecodecs.deflate_encode, level=1)


def zstd_encoder() -> Encoder:
    """Return an encoder with zstd at level 1 and a checksum, which zstd readers verify (RFC 8878, section 3.1.1).

    imagecodecs writes no checksum; without it, damage goes unnoticed.
    """
    from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

    codec = Zstd(level=1, checksum=True)
    return lambda pixels: bytes(codec.encode(pixels))


def tiff_predictor(compression: Compression, dtype: np.dtype[np.generic]) -> int:
    """Return the value of the TIFF tag Predictor: 1 none, 2 horizontal differences, 3 floating point."""
    if compression in ("jpeg", "none"):
        return 1
    return 3 if dtype.kind == "f" else 2


def zarr_encoder(compression: Compression) -> Encoder:
    """Return an encoder of zarr chunks of any shape, little-endian: "zstd" at level 1 with a checksum, or "none"."""
    if compression == "none":
        return lambda pixels: _little_endian(pixels).tobytes()
    compress = zstd_encoder()
    return lambda pixels: compress(_little_endian(pixels))


def _little_endian(pixels: Pixels) -> Pixels:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
