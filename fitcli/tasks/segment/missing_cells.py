"""Marks cells in which an image has no pixel: a map gives them no class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageReader
from fitcli.images.missing import missing_pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.segment.strips import NOT_SEEN, TakeStrip

PIECE_VALUES = 1 << 22
"""Values of the image that are read at a time."""


def without_missing_cells(image: ImageReader, grid: PatchGrid, cell: int, take: TakeStrip) -> TakeStrip:
    """Return a function that gives strips to `take` with `NOT_SEEN` in cells whose pixels are all missing.

    It reads the image again, and only if pixels of it can be missing.

    Args:
        image: The open image.
        grid: Groups and patches over the image.
        cell: Pixels per side of a cell.
        take: Takes the strips.
    """
    if image.info.nodata is None and image.info.dtype.kind != "f":
        return take

    def mark_and_take(row: int, cells: NDArray[Any]) -> None:
        cells[_missing_cells(image, row * grid.group_pixels, cells.shape[:2], cell)] = NOT_SEEN
        take(row, cells)

    return mark_and_take


def _missing_cells(image: ImageReader, top: int, shape: tuple[int, ...], cell: int) -> NDArray[np.bool_]:
    """Return which cells of a strip, [rows columns], have no pixel.

    Args:
        image: The open image.
        top: First row of pixels of the strip.
        shape: (rows, columns) of the cells.
        cell: Pixels per side of a cell.
    """
    rows, columns = shape
    missing = np.zeros((rows, columns), bool)
    at_once = max(1, PIECE_VALUES // (rows * cell * cell * image.info.channels))
    for left in range(0, columns, at_once):
        count = min(at_once, columns - left)
        window = Window(top, left * cell, rows * cell, count * cell).clip(*image.info.size)
        marks = missing_pixels(image.read(window), image.info.nodata)
        if marks is not None and marks.any():
            absent = marks.all(axis=-1)
            by_rows = np.logical_and.reduceat(absent, np.arange(0, absent.shape[0], cell), axis=0)
            by_cell = np.logical_and.reduceat(by_rows, np.arange(0, absent.shape[1], cell), axis=1)
            missing[:, left : left + count] = by_cell
    return missing
