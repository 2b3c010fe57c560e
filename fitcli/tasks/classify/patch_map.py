"""Values of a heat map on the grid of patches. Layers and pictures draw the same values.

A value belongs to a place of the image, whatever part of a patch or of a group the image fills there. It is what the
place has of the decision, relative to its size; see docs/heatmaps.md. It is NaN where nothing was looked at: in groups
that were left out as background, and in patches whose pixels are all missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageReader
from fitcli.images.missing import missing_pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.classify.classify_image import Classification
from fitcli.tasks.classify.evidence import patch_areas

SEARCHED_PIXELS = 2**20
"""Number of pixels that are searched for missing ones at a time, of up to `FEW_CHANNELS` channels."""

FEW_CHANNELS = 16
"""Channels up to which a strip has so many pixels; strips of images with more channels have as many values."""


def evidence_map(result: Classification) -> NDArray[np.float32]:
    """Return the evidence of each patch, times the even share [rows columns]: 1 is even, and the mean by area.

    Raises:
        ValueError: The classification kept no evidence.
    """
    if result.evidence is None:
        raise ValueError("classify with keep_evidence=True to draw a heat map")
    areas = patch_areas(result.grid, result.places)
    share = areas / areas.sum(dtype=np.float64)
    return _on_grid(np.divide(result.evidence, share, out=np.zeros_like(result.evidence), where=areas > 0), result)


def contribution_map(result: Classification, name: str) -> NDArray[np.float32]:
    """Return the logit of a class, without its bias, that the image would have if all of it were like a patch.

    These are the contributions times the number of groups, times the number of patches of the group: the mean over the
    groups of their means is the logit without its bias.

    Raises:
        ValueError: The contributions to this class were not kept.
    """
    counts = np.count_nonzero(patch_areas(result.grid, result.places), axis=-1)
    return _on_grid(result.contributions(name).values * (counts[:, None] * np.float32(len(counts))), result)


def _on_grid(values: NDArray[np.float32], result: Classification) -> NDArray[np.float32]:
    """Lay values of patches [g n] over the image: [rows columns], NaN in groups that were left out."""
    grid = result.grid
    whole = np.full((grid.rows, grid.columns, grid.group, grid.group), np.nan, np.float32)
    rows, columns = np.array(result.places).T
    whole[rows, columns] = values.reshape(-1, grid.group, grid.group)
    height, width = (-(-side // grid.patch) for side in grid.size)
    return whole.swapaxes(1, 2).reshape(grid.rows * grid.group, grid.columns * grid.group)[:height, :width]


def present_patches(image: ImageReader, grid: PatchGrid) -> NDArray[np.bool_] | None:
    """Return which patches [rows columns] have a pixel that is not missing; None if certainly all have.

    It reads the smallest level at which a patch still has two pixels per side.
    """
    info = image.info
    if info.nodata is None and info.dtype.kind != "f":
        return None
    shape = tuple(-(-side // grid.patch) for side in grid.size)
    level = max(number for number, each in enumerate(info.levels) if number == 0 or each.downsample <= grid.patch / 2)
    stored, present = info.levels[level], np.zeros(shape, np.bool_)
    edges = [_first_pixels(count, grid.patch / stored.downsample, side) for count, side in
             zip(shape, (stored.height, stored.width), strict=True)]  # fmt: skip
    pixels_at_once = SEARCHED_PIXELS * FEW_CHANNELS // max(info.channels, FEW_CHANNELS)
    at_once = max(1, int(pixels_at_once * stored.downsample / (stored.width * grid.patch)))
    for first in range(0, shape[0], at_once):
        rows = edges[0][first : first + at_once]
        stop = edges[0][first + at_once] if first + at_once < shape[0] else stored.height
        pixels = image.read(Window(int(rows[0]), 0, int(stop - rows[0]), stored.width), level)
        missing = missing_pixels(pixels, info.nodata)
        some = np.ones(pixels.shape[:2], bool) if missing is None else ~missing.all(axis=-1)
        present[first : first + at_once] = np.logical_or.reduceat(
            np.logical_or.reduceat(some, rows - rows[0], axis=0), edges[1], axis=1
        )
    return present


def _first_pixels(patches: int, side: float, length: int) -> NDArray[np.int64]:
    """Return the first pixel of each patch along an axis of `length` pixels of a level."""
    return np.minimum((np.arange(patches) * side).astype(np.int64), length - 1)
