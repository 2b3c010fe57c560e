"""Stored channels into red, green and blue. Arrays in, arrays out; knows no files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels

Conversion = Callable[[Pixels], Pixels]
"""[height, width, stored channels] -> [height, width, channels]."""


def palette_to_rgb(colors: NDArray[np.uint8]) -> Conversion:
    """A conversion that looks up indices in `colors` [entries, 3]. Indices beyond its end get the last entry."""

    def convert(pixels: Pixels) -> Pixels:
        last = min(len(colors) - 1, int(np.iinfo(pixels.dtype).max))
        return np.asarray(colors[np.minimum(pixels[:, :, 0], last)])

    return convert


def inverted(maximum: int) -> Conversion:
    """A conversion for files of unsigned integers where 0 is white."""

    def convert(pixels: Pixels) -> Pixels:
        inverse: Pixels = np.subtract(np.array(maximum, pixels.dtype), pixels, out=pixels)
        return inverse

    return convert


def cmyk_to_rgb(pixels: Pixels) -> Pixels:
    """Ink amounts (unsigned integers, full scale is full ink) to light, without a colour profile."""
    full = int(np.iinfo(pixels.dtype).max)
    light = full - pixels[:, :, :4].astype(np.uint64)
    rgb = (light[:, :, :3] * light[:, :, 3:] + np.uint64(full // 2)) // np.uint64(full)
    narrow: Pixels = rgb.astype(pixels.dtype)
    return narrow


def ycbcr_to_rgb(pixels: Pixels) -> Pixels:
    """Full-range 8-bit YCbCr (ITU-R BT.601, as in JPEG) to RGB."""
    luma, blue, red = (pixels[:, :, channel].astype(np.float32) for channel in range(3))
    blue -= 128
    red -= 128
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    rounded: Pixels = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return rounded


def tiff_colors(colormap: NDArray[Any]) -> NDArray[np.uint8]:
    """[entries, 3] of 8 bits from a TIFF colour map [3, entries] of 16 bits (or of 8, which some writers store)."""
    bits = 8 if int(colormap.max(initial=0)) > 255 else 0
    return np.ascontiguousarray((colormap.T >> bits).astype(np.uint8))
