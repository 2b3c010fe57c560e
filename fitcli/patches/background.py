"""Finds the background groups of an image, whose pixels hardly vary. It reads a small level of the pyramid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import FULL, Preprocessing

CELLS = 16
"""Cells per side of a group. Pixels are averaged over each cell before cells are compared. That removes noise, but it
keeps a mark of one sixteenth of the group's side."""


STRIP_VALUES = 1 << 25
"""Values that are read at a time: a row of groups, or a part of it if the image has many channels."""

FEW = 50
"""Almost everything is left out if less than one group in so many is kept."""


def foreground(
    image: ImageReader, grid: PatchGrid, threshold: float, preprocessing: Preprocessing
) -> list[tuple[int, int]]:
    """Return (row, column) of the groups whose pixels vary, row by row. At least one group is returned.

    If the image has smaller levels, background is never decoded at full resolution. Detail finer than a sixteenth of a
    group, with the mean of its surroundings, is missed. Missing pixels are ignored; a group without others is
    background.

    Args:
        image: The open image.
        grid: Grid over the image.
        threshold: Largest difference between the cells of a background group, in any channel, as a fraction of the
            range of the training pixels, see `Preprocessing.spread`. For a run of `rules` 1 it is a fraction of 255 for
            uint8, 65535 for uint16, and the largest difference in any group for floats.
        preprocessing: Pixels that the model was trained on.

    Raises:
        ImageError: The image cannot be read.
    """
    spreads = _spreads(image, grid, preprocessing)
    limit = threshold * _range(image.info, spreads, preprocessing)
    kept = [place for place in grid.coordinates() if spreads[place] > limit]
    return kept or [divmod(int(spreads.argmax()), grid.columns)]


def almost_all_left_out(kept: int, groups: int) -> bool:
    """Return whether so few of the groups of an image are kept that the threshold is likely wrong for it."""
    return groups >= 4 and kept <= max(1, groups // FEW)


def _spreads(image: ImageReader, grid: PatchGrid, preprocessing: Preprocessing) -> NDArray[np.float64]:
    """Return the spread of the cells of every group, [rows columns]."""
    level = _level(image.info, grid)
    stored = image.info.levels[level]
    side = grid.group_pixels / stored.downsample
    spreads = np.zeros((grid.rows, grid.columns))
    at_once = max(1, int(STRIP_VALUES / (side * side * image.info.channels)))
    for row in range(grid.rows):
        top, bottom = _span(row, side, stored.height)
        for first in range(0, grid.columns, at_once):
            columns = range(first, min(first + at_once, grid.columns))
            start, stop = _span(columns[0], side, stored.width)[0], _span(columns[-1], side, stored.width)[1]
            pixels = image.read(Window(top, start, bottom - top, stop - start), level)
            strip = _present(pixels, image.info, preprocessing)
            for column in columns:
                left, right = _span(column, side, stored.width)
                spreads[row, column] = _spread(strip[:, left - start : right - start])
    return spreads


def _level(info: ImageInfo, grid: PatchGrid) -> int:
    """Return the smallest level at which a group still has a pixel per cell."""
    fine = (n for n, level in enumerate(info.levels) if grid.group_pixels / level.downsample >= CELLS)
    return max(fine, default=0)


def _span(number: int, side: float, length: int) -> tuple[int, int]:
    """Return (start, stop) in pixels of group `number` along an axis of `length` pixels; at least one pixel."""
    first = min(int(number * side), length - 1)
    return first, max(min(round((number + 1) * side), length), first + 1)


def _present(pixels: Pixels, info: ImageInfo, preprocessing: Preprocessing) -> Pixels:
    """Return pixels in the units of the training pixels, with NaN for missing ones.

    A hot pixel counts as if it were one range beyond the training pixels.
    """
    if preprocessing.rules == 1:
        return pixels
    converted, missing = preprocessing.convert_marked(pixels, info)
    limits, spread = preprocessing.limits, preprocessing.spread
    if limits is not None and spread is not None and preprocessing.dtype not in FULL:
        converted = converted.astype(np.float64).clip(limits[0] - spread, limits[1] + spread)
    return converted if missing is None else np.where(missing, np.nan, converted.astype(np.float64))


def _spread(pixels: Pixels) -> float:
    """Return the largest minus the smallest cell mean, in the channel that differs most. Ignore NaN and infinity."""
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    counts, sums = _cells(finite.astype(np.float64)), _cells(np.where(finite, values, 0))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    if not np.isfinite(means).any():
        return 0.0
    return float(np.nanmax(np.nanmax(means, axis=(0, 1)) - np.nanmin(means, axis=(0, 1))))


def _cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum [height width channels] over each of at most CELLS x CELLS cells."""
    for axis in (0, 1):
        edges = np.unique(np.arange(CELLS) * values.shape[axis] // CELLS)
        values = np.add.reduceat(values, edges, axis)
    return values


def _range(info: ImageInfo, spreads: NDArray[np.float64], preprocessing: Preprocessing) -> float:
    """Return the range that the threshold is a fraction of."""
    if preprocessing.spread is not None:
        return preprocessing.spread
    return float(np.iinfo(info.dtype).max) if info.dtype.kind in "iu" else float(spreads.max())
