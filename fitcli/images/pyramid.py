"""Computes pyramids: the sizes of the levels, and the halving of pixels."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Level, Pixels
from fitcli.images.missing import avoid_nodata, missing_mark, missing_pixels

Resampling = Literal["mean", "nearest"]
"""How four pixels become one: their mean, or the upper left one."""

RESAMPLINGS: tuple[str, ...] = get_args(Resampling)

SUMS = {
    np.dtype(narrow): np.dtype(wide)
    for narrow, wide in (
        ("u1", "u2"),
        ("i1", "i2"),
        ("u2", "u4"),
        ("i2", "i4"),
        ("u4", "u8"),
        ("i4", "i8"),
        ("f2", "f4"),
        ("f4", "f8"),
        ("f8", "f8"),
    )
}
"""Pixel dtypes that can be averaged, each with a dtype that holds the sum of four values."""


def pyramid_levels(height: int, width: int, chunk: int, count: int | None = None) -> tuple[Level, ...]:
    """Return the levels of a pyramid, each half the side of the one before, rounded up.

    Args:
        height, width: Size of level 0 in pixels.
        chunk: Side in pixels. Without `count`, the pyramid ends with the first level that fits in such a square.
        count: Number of levels. The pyramid ends early at a level of one pixel.
    """
    levels = [Level(height, width, 1.0)]
    while max(levels[-1].height, levels[-1].width) > (chunk if count is None else 1):
        if len(levels) == count:
            break
        last = levels[-1]
        levels.append(Level((last.height + 1) // 2, (last.width + 1) // 2, 2.0 * last.downsample))
    return tuple(levels)


def halve(pixels: Pixels, resampling: Resampling, nodata: float | None = None) -> Pixels:
    """Halve the height and width of [height, width, channels], rounded up. Keeps dtype and memory layout.

    "mean" takes the mean of each 2 x 2 square. Integers are rounded to the nearest, halves up. Missing pixels (see
    `fitcli.images.missing`) are left out; a square without any other stays missing. A mean that happens to be the
    nodata value becomes the next value. An odd last row or column counts twice.
    "nearest" takes the upper left pixel of each square (for label images).
    """
    if resampling == "nearest":
        return pixels[::2, ::2].copy(order="K")
    pixels = pad_edges(pixels, pixels.shape[0] + pixels.shape[0] % 2, pixels.shape[1] + pixels.shape[1] % 2)
    missing = missing_pixels(pixels, nodata)
    if missing is None or not missing.any():
        return avoid_nodata(_mean(pixels), nodata)
    return _mean_of_present(pixels, missing, nodata)


def pad_edges(pixels: Pixels, height: int, width: int) -> Pixels:
    """Repeat the last row and column up to [height, width, channels]; returns `pixels` itself if it has that size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    padded = np.empty_like(pixels, shape=(height, width, pixels.shape[2]))
    rows, columns = pixels.shape[:2]
    padded[:rows, :columns] = pixels
    padded[rows:, :columns] = pixels[-1:]
    padded[:, columns:] = padded[:, columns - 1 : columns]
    return padded


def _mean(pixels: Pixels) -> Pixels:
    wide = SUMS[pixels.dtype]
    with np.errstate(invalid="ignore", over="ignore"):
        rows = np.add(pixels[::2], pixels[1::2], dtype=wide)
        total = np.empty_like(rows, shape=(rows.shape[0], rows.shape[1] // 2, rows.shape[2]))
        # One channel at a time: numpy's inner loop would otherwise run over 3 channels instead of 256 columns.
        for channel in range(rows.shape[2]):
            np.add(rows[:, ::2, channel], rows[:, 1::2, channel], out=total[:, :, channel])
        if wide.kind == "f":
            total *= 0.25
        else:
            total += wide.type(2)
            total >>= wide.type(2)
        return total.astype(pixels.dtype, copy=False)


def _mean_of_present(pixels: Pixels, missing: NDArray[np.bool_], nodata: float | None) -> Pixels:
    height, width, channels = pixels.shape
    squares = (height // 2, 2, width // 2, 2, channels)
    with np.errstate(invalid="ignore", over="ignore"):
        total: NDArray[Any] = np.where(missing, 0, pixels.astype(SUMS[pixels.dtype])).reshape(squares).sum(axis=(1, 3))
        count = (~missing).reshape(squares).sum(axis=(1, 3))
        at_least_one = np.maximum(count, 1).astype(total.dtype)
        floating = total.dtype.kind == "f"
        mean = total / at_least_one if floating else (2 * total + at_least_one) // (2 * at_least_one)
        small = np.empty_like(pixels, shape=(height // 2, width // 2, channels))
        small[...] = mean
    small[...] = np.where(count > 0, avoid_nodata(small, nodata), missing_mark(nodata, pixels.dtype))
    return small
