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

PALETTE = "P"
"""Mode of Pillow for indices of a palette."""

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
        palette: Red, green and blue by index, for a picture that is read as indices of a palette; else empty.
    """

    format: str
    height: int
    width: int
    channels: int
    dtype: str
    frames: int
    palette: tuple[tuple[int, int, int], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the description as JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Description:
        """Return the description that JSON data of `as_dict` hold."""
        return cls(**data | {"palette": tuple(map(tuple, data["palette"]))})


def describe(path: Path, indices: bool = False) -> Description:
    """Read the header of a picture. Pillow raises errors of many types.

    Args:
        path: Path of the file.
        indices: Whether a picture with a palette is read as the indices of its colours.
    """
    with _open(path) as image:
        palette = _palette(image) if indices and image.mode == PALETTE else ()
        colors = 1 if palette else 4 if image.has_transparency_data else 3
        channels, dtype = MODES.get(image.mode, (colors, "u1"))
        single = image.format in ("MPO", "PNG")
        frames = 1 if single else int(getattr(image, "n_frames", 1))
        name = "JPEG" if image.format == "MPO" else str(image.format)
        return Description(name, image.size[1], image.size[0], channels, dtype, frames, palette)


def _palette(image: Image.Image) -> tuple[tuple[int, int, int], ...]:
    values = image.getpalette("RGB") or [0, 0, 0]
    return tuple((values[at], values[at + 1], values[at + 2]) for at in range(0, len(values), 3))


def rows(path: Path, channels: int) -> Iterator[Pixels]:
    """Decode a picture, and yield bands [rows, width, channels] from top to bottom.

    With one channel, a picture that has a palette yields the indices of its colours.
    """
    with _open(path) as image:
        image.load()
        width, height = image.size
        for top in range(0, height, CONVERTED_ROWS):
            band = image.crop((0, top, width, min(top + CONVERTED_ROWS, height)))
            if band.mode not in MODES and not (channels == 1 and band.mode == PALETTE):
                band = band.convert("RGB" if channels == 3 else "RGBA")
            yield np.asarray(band).reshape(band.height, band.width, -1)


def _open(path: Path) -> Image.Image:
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
