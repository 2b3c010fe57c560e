"""Numbers the cells of a group as the head of a model gives them, and turns them as images are turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.patches.grid import PatchGrid
from models.config import DenseConfig

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CellLayout:
    """The cells of a model.

    Attributes:
        patch: Pixels per side of a patch.
        group: Patches per side of a group.
        cells: Cells per side of a patch.
    """

    patch: int
    group: int
    cells: int

    @classmethod
    def of(cls, config: DenseConfig) -> CellLayout:
        """Return the layout of a model."""
        return cls(config.patch, config.group, config.cells)

    @property
    def cell(self) -> int:
        """Pixels per side of a cell."""
        return self.patch // self.cells

    @property
    def side(self) -> int:
        """Cells per side of a group."""
        return self.group * self.cells

    @property
    def count(self) -> int:
        """Cells of a group."""
        return self.side**2

    def numbers(self, rows: Integers, columns: Integers) -> Integers:
        """Return the numbers of cells, given their places in their group: patch after patch, row after row in each."""
        patches = rows // self.cells * self.group + columns // self.cells
        return patches * self.cells**2 + rows % self.cells * self.cells + columns % self.cells

    def places(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Return the rows and columns of cells in their group, given their numbers."""
        patches, within = np.divmod(numbers, self.cells**2)
        rows = patches // self.group * self.cells + within // self.cells
        return rows, patches % self.group * self.cells + within % self.cells

    def turned(self, rows: Integers, columns: Integers, quarters: int, mirror: bool) -> tuple[Integers, Integers]:
        """Return where cells of a group are after `augmentation.turn_patches`."""
        for _ in range(quarters % 4):
            rows, columns = self.side - 1 - columns, rows
        return rows, self.side - 1 - columns if mirror else columns

    def grid(self, size: tuple[int, int]) -> PatchGrid:
        """Return the grid over an image of (height, width) pixels."""
        return PatchGrid(size, self.patch, self.group)


def turned_sides(sides: NDArray[np.float64], quarters: int, mirror: bool) -> NDArray[np.float64]:
    """Return distances (top, left, bottom, right) [... 4] to the sides of a box that is turned with its image."""
    order = [0, 1, 2, 3]
    for _ in range(quarters % 4):
        # Counter-clockwise, the right side becomes the top.
        order = [order[3], order[0], order[1], order[2]]
    if mirror:
        order = [order[0], order[3], order[2], order[1]]
    return sides[..., order]
