"""Encodes small pictures in memory, for pages that contain them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUALITY = 82
"""Quality of JPEG, 1 to 100."""

FEW_COLORS = 256
"""Most colours of a picture that becomes a PNG with a palette."""


def encode_picture(pixels: NDArray[np.uint8], flat: bool = False) -> tuple[str, bytes]:
    """Return the media type and the bytes of a picture [height width 3].

    Args:
        pixels: Red, green and blue.
        flat: Whether it has few colours and sharp edges: it becomes a PNG, without loss. Others become a JPEG.
    """
    picture, file = Image.fromarray(np.ascontiguousarray(pixels)), BytesIO()
    if not flat:
        picture.save(file, "JPEG", quality=QUALITY, optimize=True)
        return "image/jpeg", file.getvalue()
    if picture.getcolors(FEW_COLORS) is not None:
        picture = picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=FEW_COLORS)
    picture.save(file, "PNG", optimize=True)
    return "image/png", file.getvalue()


def shrunk(pixels: NDArray[np.uint8], longest: int, flat: bool = False) -> NDArray[np.uint8]:
    """Return a picture [height width 3] with at most `longest` pixels per side; see `resized`."""
    height, width = pixels.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return pixels
    return resized(pixels, (max(1, round(height * factor)), max(1, round(width * factor))), flat)


def resized(pixels: NDArray[np.uint8], size: tuple[int, int], flat: bool = False) -> NDArray[np.uint8]:
    """Return a picture [height width 3] at another size.

    Args:
        pixels: Red, green and blue.
        size: (height, width).
        flat: Whether pixels are picked rather than averaged, as in maps.
    """
    if pixels.shape[:2] == size:
        return pixels
    how = Image.Resampling.NEAREST if flat else Image.Resampling.BOX
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((size[1], size[0]), how))
