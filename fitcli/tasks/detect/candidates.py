"""Finds the cells of groups that may be middles of objects, on the device: peaks of the heat, and what borders need.

A middle is a cell whose heat is the greatest of the 3 x 3 cells around it (Zhou et al. 2019, arXiv:1904.07850, section
4). Of a cell at the border of a group, some of these lie in other groups, which may not have been computed yet. So all
cells at borders are kept whose heat exceeds the floor; `borders.py` compares them when all groups are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.loss import PRIOR_LOGIT, distances
from models.dense import cell_map

FLOOR = 0.05
"""Least heat of a candidate."""

SCORE, CLASS, ROW, COLUMN, IS_PEAK, FIRST_SIDE = range(6)
"""Columns of a candidate; the distances to the sides (top, left, bottom, right) follow for boxes, in cells."""


def most_candidates(side: int) -> int:
    """Return the most candidates of a group of so many cells per side. A model with more is broken, or hostile.

    Peaks are two cells apart, so this is the most peaks of one class, with room for a border.
    """
    return side * side // 4 + 4 * side


@dataclass(frozen=True, slots=True)
class CandidateFinder:
    """Finds candidates in what the head gives.

    Attributes:
        layout: Cells of the model.
        classes: Number of classes.
        half_side: Typical half side of a box, in cells; 0 for points.
    """

    layout: CellLayout
    classes: int
    half_side: float

    @property
    def columns(self) -> int:
        """Number of values of a candidate."""
        return FIRST_SIDE + (4 if self.half_side else 0)

    def find(self, values: Tensor, places: Sequence[tuple[int, int]], grid: PatchGrid) -> Tensor:
        """Return the candidates of groups, [part most columns] float32; rows of score 0 are none.

        If a group has more than `most_candidates`, those with the greatest heat are kept.

        Args:
            values: Output of the head for the cells, [part n q*q o].
            places: (row, column) of the groups.
            grid: Groups and patches over the image.
        """
        side, q = self.layout.side, self.layout.cells
        maps, peaks, kept = self.maps(values, places, grid)
        group, number, row, column = kept.nonzero(as_tuple=True)
        columns = [maps[group, number, row, column], number, row, column, peaks[group, number, row, column]]
        found = torch.stack([each.float() for each in columns], dim=1)
        if self.half_side:
            patch = row // q * self.layout.group + column // q
            cell = row % q * q + column % q
            own = values[group, patch, cell, self.classes :].float()
            found = torch.cat([found, distances(own, self.half_side)], dim=1)
        return _by_group(found, group, len(places), most_candidates(side))

    def maps(self, values: Tensor, places: Sequence[tuple[int, int]], grid: PatchGrid) -> tuple[Tensor, Tensor, Tensor]:
        """Return the heat of groups [part k side side], which cells are peaks in their group, and which are kept."""
        heat = (values[..., : self.classes].float() + PRIOR_LOGIT).sigmoid()
        maps = torch.stack([cell_map(each, self.layout.group, self.layout.cells) for each in heat.unbind(-1)], dim=1)
        inside = _inside(places, grid, self.layout.cell, self.layout.side)
        maps = maps * to_device(inside, maps.device)[:, None]
        peaks = maps == torch.nn.functional.max_pool2d(maps, 3, stride=1, padding=1)
        kept = peaks.clone()
        kept[..., 0, :] = kept[..., -1, :] = kept[..., :, 0] = kept[..., :, -1] = True
        return maps, peaks, kept & (maps > FLOOR)


def _inside(places: Sequence[tuple[int, int]], grid: PatchGrid, cell: int, side: int) -> Tensor:
    """Return which cells of groups have their middle in the image, [part side side]."""
    ends = torch.tensor(
        [[length - place * grid.group_pixels for length, place in zip(grid.size, each, strict=True)] for each in places]
    ).reshape(-1, 2)
    middles = (torch.arange(side) + 0.5) * cell
    rows, columns = middles < ends[:, :1], middles < ends[:, 1:]
    # An image may be smaller than half a cell.
    rows[:, 0], columns[:, 0] = True, True
    return rows[:, :, None] & columns[:, None, :]


def _by_group(found: Tensor, group: Tensor, groups: int, most: int) -> Tensor:
    """Return candidates [e columns] of groups as one table per group, [groups most columns]."""
    counts = torch.bincount(group, minlength=groups)
    if len(group) and int(counts.max()) > most:
        order = torch.argsort(found[:, SCORE], descending=True, stable=True)
        order = order[torch.argsort(group[order], stable=True)]
        found, group = found[order], group[order]
    rank = torch.arange(len(group), device=group.device) - (counts.cumsum(0) - counts)[group]
    table = found.new_zeros(groups, most, found.shape[1])
    table[group[rank < most], rank[rank < most]] = found[rank < most]
    return table
