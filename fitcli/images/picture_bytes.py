"""Encodes small pictures in memory, such as parts of an image for a browser."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fitcli.images.chunk_encoding import jpeg_encoder

PNG_LEVEL = 1
"""Effort of the compression: the pictures are for a browser on the same machine."""


def jpeg_bytes(pixels: NDArray[np.uint8], quality: int = 88) -> bytes:
    """Return pixels [height width, 1 or 3] as a JPEG file."""
    return jpeg_encoder(quality)(np.ascontiguousarray(pixels))


def png_bytes(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels [height width channels] as a PNG file; with four channels, the last one is alpha."""
    shown: NDArray[Any] = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(shown), level=PNG_LEVEL))
