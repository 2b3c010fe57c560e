"""Estimates the memory that a reader takes for decoded chunks."""

from __future__ import annotations

import math

from fitcli.images.base import ImageReader
from fitcli.images.chunk_cache import DEFAULT_BYTES, LARGEST_BYTES
from fitcli.images.rescaled import PIECE_BYTES, Rescaled


def reader_bytes(image: ImageReader, side: int) -> int:
    """Return the bytes of decoded chunks that a reader holds while you read windows in order.

    Args:
        image: The open image.
        side: Height and width of the windows in level-0 pixels.
    """
    if isinstance(image, Rescaled):
        return reader_bytes(image.image, math.ceil(side * image.factor)) + (PIECE_BYTES if image.factor != 1 else 0)
    info = image.info
    pixel = info.channels * info.dtype.itemsize
    whole = info.height * info.width * pixel
    if image.decoding_bytes:
        return max(image.decoding_bytes, whole)
    rows, columns = info.chunk or info.size
    one = min(rows * columns * pixel, whole)
    # Windows that are not aligned with chunks touch one chunk more along each axis.
    touched = (-(-side // rows) + 1) * (-(-side // columns) + 1)
    cached = max(min(whole, max(DEFAULT_BYTES, min(touched * one, LARGEST_BYTES))), one)
    return cached + one
