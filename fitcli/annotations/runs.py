"""Runs of equal cells in the rows of a class map: how they touch, and where their upper and lower borders are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import IGNORED

UNTRACED = IGNORED
"""Class number of cells that belong to no part."""

Cells = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Edges = NDArray[np.int32]


class Runs:
    """The runs of some rows of cells [rows, width], numbered in reading order.

    Attributes:
        classes: Class number of each run.
        last: First run of the last row.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._begins = np.ones(cells.shape, np.bool_)
        np.not_equal(cells[:, 1:], cells[:, :-1], out=self._begins[:, 1:])
        self._differs = cells[1:] != cells[:-1]
        self._number = np.cumsum(self._begins.reshape(-1), dtype=np.int32).reshape(cells.shape)
        self._number -= 1
        self.classes: Cells = cells[self._begins]
        self.last = int(self._number[-1, 0])

    def links(self) -> tuple[Numbers, Numbers]:
        """Return pairs of touching runs of one class, (lower, upper), the lower ones ascending."""
        touches = self._begins[1:] | self._begins[:-1]
        touches &= ~self._differs
        place = np.flatnonzero(touches)
        upper = self._number.reshape(-1)[place].astype(np.int64)
        lower = self._number[1:].reshape(-1)[place].astype(np.int64)
        is_traced = self.classes[upper] != UNTRACED
        return lower[is_traced], upper[is_traced]

    def edges(self, line: int) -> tuple[Edges, Numbers]:
        """Return the borders of runs on the lines between the rows: [edges, 3], and the run of each.

        Args:
            line: Number of the line between the first two rows.
        """
        upper, runs_below = self._borders(slice(1, None), 2 * line)
        lower, runs_above = self._borders(slice(None, -1), 2 * line + 1)
        return np.concatenate([upper, lower]), np.concatenate([runs_below, runs_above])

    def _borders(self, rows: slice, side: int) -> tuple[Edges, Numbers]:
        """Return the borders of the runs in some rows, where they differ from the row above or below."""
        begins, cells, differs = self._begins[rows], self._cells[rows], self._differs
        # A border ends where its run does, or where the cell on the other side is of the class again.
        breaks = begins[:, 1:] | ~differs[:, :-1]
        first = differs.copy()
        first[:, 1:] &= breaks
        np.logical_not(differs[:, 1:], out=breaks)
        breaks |= begins[:, 1:]
        last = differs.copy()
        last[:, :-1] &= breaks
        start, end = np.flatnonzero(first), np.flatnonzero(last)
        is_traced = cells.reshape(-1)[start] != UNTRACED
        start, end = start[is_traced], end[is_traced]
        row, left = np.divmod(start, cells.shape[1])
        edges = np.stack([2 * row + side, left, left + (end - start) + 1], axis=1, dtype=np.int32, casting="unsafe")
        return edges, self._number[rows].reshape(-1)[start].astype(np.int64)
