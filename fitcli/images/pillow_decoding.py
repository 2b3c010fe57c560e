"""Describes and decodes pictures with Pillow: BMP, GIF, JPEG 2000, AVIF and others."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fitcli.images.base import Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF", "QOI", "PCX", "SGI", "TGA")
"""Formats that Pillow may open. Others start programs (EPS) or cannot be recognised reliably."""

MODES = {
    "1": (1, "?"), "L": (1, "u1"), "LA": (2, "u1"), "RGB": (3, "u1"), "RGBA": (4, "u1"),
    "I;16": (1, "u2"), "I;16L": (1, "u2"), "I;16B": (1, "u2"), "I": (1, "i4"), "F": (1, "f4"),
}  # fmt: skip
"""(channels, dtype) of the pixels per mode of Pillow. Other modes are read as RGB, or as RGBA with alpha."""

CONVERTED_ROWS = 256
"""Rows that are converted from Pillow to numpy at once, because the conversion makes two copies."""

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # Pillow's limit for errors stays in force


@dataclass(frozen=True, slots=True)
class Description:
    """What Pillow finds in a header.

    Attributes:
        format: Name of the format.
        height, width: Size in pixels.
        channels, dtype: Channels and dtype of the pixels.
        frames: Number of pictures in the file.
    """

    format: str
    height: int
    width: int
    channels: int
    dtype: str
    frames: int

    def as_dict(self) -> dict[str, Any]:
        """Return the description as JSON data."""
        return asdict(self)


def describe(path: Path) -> Description:
    """Read the header of a picture. Pillow raises errors of many types."""
    with _open(path) as image:
        channels, dtype = MODES.get(image.mode, (4 if image.has_transparency_data else 3, "u1"))
        single = image.format in ("MPO", "PNG")
        frames = 1 if single else int(getattr(image, "n_frames", 1))
        name = "JPEG" if image.format == "MPO" else str(image.format)
        return Description(name, image.size[1], image.size[0], channels, dtype, frames)


def rows(path: Path, channels: int) -> Iterator[Pixels]:
    """Decode a picture, and yield bands [rows, width, channels] from top to bottom."""
    with _open(path) as image:
        image.load()
        width, height = image.size
        for top in range(0, height, CONVERTED_ROWS):
            band = image.crop((0, top, width, min(top + CONVERTED_ROWS, height)))
            if band.mode not in MODES:
                band = band.convert("RGB" if channels == 3 else "RGBA")
            yield np.asarray(band).reshape(band.height, band.width, -1)


def _open(path: Path) -> Image.Image:
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
