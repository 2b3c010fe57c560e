"""Joins the cells of groups into strips of an image, from top to bottom, as a pass gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fitcli.patches.grid import PatchGrid

NOT_SEEN = 255
"""Value of cells in groups that were left out."""

TakeStrip = Callable[[int, NDArray[Any]], None]
"""Takes the number of a row of groups, and the values [rows columns ...] of the cells of the image in it."""


class Strips:
    """Collects the cells of one row of groups at a time.

    Args:
        grid: Groups and patches over the image.
        cells: Cells per side of a patch.
        take: Takes each strip when it is complete, in order.
    """

    def __init__(self, grid: PatchGrid, cells: int, take: TakeStrip) -> None:
        self._grid, self._cells, self._take = grid, cells, take
        self._side = grid.group * cells
        self._row = 0
        self._strip: NDArray[Any] | None = None
        self._like: NDArray[Any] = np.empty((0,), np.uint8)

    def put(self, places: list[tuple[int, int]], values: Tensor) -> None:
        """Take the cells [part n q*q ...] of groups; groups come in the order of reading, some may be left out."""
        maps = rearrange(
            values.numpy(),
            "g (i j) (y x) ... -> g (i y) (j x) ...",
            i=self._grid.group,
            y=self._cells,
            x=self._cells,
        )
        self._like = maps[:0, 0, 0]
        for (row, column), cells in zip(places, maps, strict=True):
            self._finish(row)
            if self._strip is None:
                self._strip = self._new()
            self._strip[:, column * self._side : (column + 1) * self._side] = cells

    def finish(self) -> None:
        """Give the strips that are left. Call it once after the pass."""
        self._finish(self._grid.rows)

    def _finish(self, row: int) -> None:
        """Give all strips above a row of groups."""
        while self._row < row:
            strip = self._new() if self._strip is None else self._strip
            self._strip = None
            height, width = self._size(self._row)
            self._take(self._row, np.ascontiguousarray(strip[:height, :width]))
            self._row += 1

    def _new(self) -> NDArray[Any]:
        shape = (self._side, self._grid.columns * self._side, *self._like.shape[1:])
        return np.full(shape, NOT_SEEN, np.uint8)

    def _size(self, row: int) -> tuple[int, int]:
        """Return (height, width) of the strip of a row of groups, in cells that hold pixels of the image."""
        cell = self._grid.patch // self._cells
        height = min(self._grid.group_pixels, self._grid.size[0] - row * self._grid.group_pixels)
        return -(-height // cell), -(-self._grid.size[1] // cell)


def pixels_of(cells: NDArray[Any], cell: int, height: int, width: int) -> NDArray[Any]:
    """Enlarge cells [rows columns ...] to pixels [height width ...]: each covers `cell` x `cell` of them."""
    return cells.repeat(cell, axis=0)[:height].repeat(cell, axis=1)[:, :width]
