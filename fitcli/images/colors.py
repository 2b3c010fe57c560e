"""Converts stored channels to red, green and blue, or to grey: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels

Conversion = Callable[[Pixels], Pixels]
"""Maps [height, width, stored channels] to [height, width, channels]."""


def palette_to_rgb(colors: NDArray[np.uint8]) -> Conversion:
    """Return a conversion that looks up indices in `colors` [entries, 3]. Indices beyond its end get the last entry."""

    def convert(pixels: Pixels) -> Pixels:
        last = min(len(colors) - 1, int(np.iinfo(pixels.dtype).max))
        return np.asarray(colors[np.minimum(pixels[:, :, 0], last)])

    return convert


def grey_to_samples(bits: int) -> Conversion:
    """Return a conversion that undoes the scaling of grey of fewer than 8 bits to the full range of 8 bits."""

    def convert(pixels: Pixels) -> Pixels:
        return pixels // np.uint8(255 // (2**bits - 1))

    return convert


def white_is_zero_to_grey(maximum: int) -> Conversion:
    """Return a conversion for unsigned integers of which 0 is white and `maximum` is black. It works in place."""

    def convert(pixels: Pixels) -> Pixels:
        inverse: Pixels = np.subtract(np.array(maximum, pixels.dtype), pixels, out=pixels)
        return inverse

    return convert


def cmyk_to_rgb(pixels: Pixels) -> Pixels:
    """Convert CMYK ink (unsigned integers, full scale is full ink) to RGB, without a colour profile."""
    full = int(np.iinfo(pixels.dtype).max)
    light = full - pixels[:, :, :4].astype(np.uint64)
    rgb = (light[:, :, :3] * light[:, :, 3:] + np.uint64(full // 2)) // np.uint64(full)
    narrow: Pixels = rgb.astype(pixels.dtype)
    return narrow


def ycbcr_to_rgb(pixels: Pixels) -> Pixels:
    """Convert full-range 8-bit YCbCr (ITU-R BT.601, as in JPEG) to RGB."""
    luma, blue, red = (pixels[:, :, channel].astype(np.float32) for channel in range(3))
    blue -= 128
    red -= 128
    rgb = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    rounded: Pixels = np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
    return rounded


def colormap_to_palette(colormap: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert a TIFF colour map [3, entries] of 16 bits (some writers store 8) to a palette [entries, 3] of 8 bits."""
    bits = 8 if int(colormap.max(initial=0)) > 255 else 0
    return np.ascontiguousarray((colormap.T >> bits).astype(np.uint8))
