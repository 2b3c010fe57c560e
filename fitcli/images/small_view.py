"""Reads an image of any size as a small picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageReader
from fitcli.images.encoded_picture import shrunk
from fitcli.images.missing import missing_pixels
from fitcli.images.window import Window

FINER = 2
"""Number of times that the pixels that are read are finer than those of the picture, at most."""

STRIP_VALUES = 1 << 24
"""Values that are read at a time."""

FEATURE_GREY = 160
"""Grey of places with features."""

PERCENTILES = (1.0, 99.0)
"""Percentiles of the values that become black and white, where values are no colours."""


def small_view(image: ImageReader, longest: int, window: Window | None = None) -> NDArray[np.uint8]:
    """Return an image in red, green and blue [height width 3], with at most `longest` pixels per side.

    Colours of 8 bits stay; of other values the middle 98 % become 0 ... 255. Missing pixels are black. Of more than
    three channels the first three are shown, of two the first one.

    Args:
        image: The open image.
        longest: Longest side, in pixels.
        window: Part of level 0; None for all.

    Raises:
        ImageError: The image cannot be read.
    """
    info = image.info
    part = Window(0, 0, *info.size) if window is None else window.clip(*info.size)
    shrink = max(1.0, max(part.height, part.width) / (FINER * longest))
    level = 0 if window is not None else max(n for n, each in enumerate(info.levels) if each.downsample <= shrink)
    stored = part if window is not None else Window(0, 0, info.levels[level].height, info.levels[level].width)
    step = max(1, -(-max(stored.height, stored.width) // (FINER * longest)))
    rows = max(1, STRIP_VALUES // max(1, stored.width * info.channels) // step) * step
    strips = [
        image.read(Window(stored.top + top, stored.left, min(rows, stored.height - top), stored.width), level)
        for top in range(0, stored.height, rows)
    ]
    pixels = np.concatenate([strip[::step, ::step] for strip in strips])
    return shrunk(_colors(pixels, info.nodata, features=info.features is not None), longest)


def _colors(pixels: NDArray[np.generic], nodata: float | None, features: bool) -> NDArray[np.uint8]:
    if features:
        known = np.isfinite(np.asarray(pixels, np.float64)).any(axis=-1, keepdims=True)
        return np.where(known, np.uint8(FEATURE_GREY), np.uint8(0)).repeat(3, axis=2)
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    if shown.dtype == np.uint8:
        return np.ascontiguousarray(shown, np.uint8)
    values = shown.astype(np.float64)
    missing = missing_pixels(pixels[..., : shown.shape[2]], nodata)
    known = np.isfinite(values) if missing is None else np.isfinite(values) & ~missing.any(axis=-1, keepdims=True)
    low, high = np.percentile(values[known], PERCENTILES) if known.any() else (0.0, 1.0)
    if low == high and known.any():
        low, high = values[known].min(), values[known].max()
    stretched = np.where(known, (np.where(known, values, low) - low) / ((high - low) or 1), 0)
    return np.asarray(np.rint(stretched.clip(0, 1) * 255), np.uint8)
