"""Which groups of an image hold nothing: their pixels are all but constant. Looks at a small level of the pyramid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid

CELLS = 16
"""Cells per side into which a group is averaged before its values are compared: noise averages out, and a mark of one
sixteenth of the group's side does not."""


def foreground(image: ImageReader, grid: PatchGrid, threshold: float) -> list[tuple[int, int]]:
    """(row, column) of the groups whose pixels vary, row by row. At least one, so that there is something to look at.

    What is left out is never decoded at full resolution, where the image has smaller levels. What is finer than a
    sixteenth of a group, and has the mean of its surroundings, is not seen.

    Args:
        image: Open.
        grid: The arrangement over it.
        threshold: Largest difference between the cells of a background group, in any channel, as a share of the range
            of the pixels: 255 for uint8, 65535 for uint16, for floats the largest difference in any group.

    Raises:
        ImageError: The image cannot be read.
    """
    spreads = _spreads(image, grid)
    limit = threshold * _range(image.info.dtype, spreads)
    kept = [place for place in grid.coordinates() if spreads[place] > limit]
    return kept or [divmod(int(spreads.argmax()), grid.columns)]


def _spreads(image: ImageReader, grid: PatchGrid) -> NDArray[np.float64]:
    """[rows columns] of groups: how much their cells differ."""
    level = _level(image.info, grid)
    shown, scale = image.info.levels[level], image.info.levels[level].downsample
    side = grid.group_pixels / scale
    spreads = np.zeros((grid.rows, grid.columns))
    for row in range(grid.rows):
        top, bottom = _span(row, side, shown.height)
        strip = image.read(Window(top, 0, bottom - top, shown.width), level)
        for column in range(grid.columns):
            left, right = _span(column, side, shown.width)
            spreads[row, column] = _spread(strip[:, left:right])
    return spreads


def _level(info: ImageInfo, grid: PatchGrid) -> int:
    """The smallest level on which a group still has a pixel per cell."""
    fine = (n for n, level in enumerate(info.levels) if grid.group_pixels / level.downsample >= CELLS)
    return max(fine, default=0)


def _span(number: int, side: float, shown: int) -> tuple[int, int]:
    """First and last pixel + 1 of a group along one axis of a level; at least one pixel."""
    first = min(int(number * side), shown - 1)
    return first, max(min(round((number + 1) * side), shown), first + 1)


def _spread(pixels: Pixels) -> float:
    """Largest less smallest mean of the cells, in the channel where that is most. Not finite values are left out."""
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    counts, sums = _cells(finite.astype(np.float64)), _cells(np.where(finite, values, 0))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    if not np.isfinite(means).any():
        return 0.0
    return float(np.nanmax(np.nanmax(means, axis=(0, 1)) - np.nanmin(means, axis=(0, 1))))


def _cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over at most CELLS x CELLS parts of [height width channels]."""
    for axis in (0, 1):
        edges = np.unique(np.arange(CELLS) * values.shape[axis] // CELLS)
        values = np.add.reduceat(values, edges, axis)
    return values


def _range(dtype: np.dtype[Any], spreads: NDArray[np.float64]) -> float:
    return float(np.iinfo(dtype).max) if dtype.kind in "iu" else float(spreads.max())
