"""Draws what the cells of groups should answer: a heat map of middles of objects, and distances to the sides of boxes.

The heat of a class at a cell is the greatest over its objects of exp(-dy² / 2 sy² - dx² / 2 sx²), with the distances dy
and dx of the middle of the cell to that of the object, divided by the value of the cell in which the middle of the
object lies: 1 there, less around it (Zhou et al. 2019, arXiv:1904.07850, equation 1, which measures from cell to cell).
So a neighbour that is almost as near is hardly taught that there is nothing: otherwise the scores of small objects
whose middles lie near a border of cells are a third lower. The deviations sy and sx follow from the sides of the box,
and not from one radius; cells of some heat learn the sides of the box, not only that in the middle (Liu et al. 2019,
arXiv:1909.00700, section 3).

Every group follows from the objects near it alone, so any groups can be drawn at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.packed_polygons import concatenated_ranges
from fitcli.tasks.detect.cell_layout import CellLayout, Integers, turned_sides

DEVIATION, LEAST_DEVIATION = 0.09, 1 / 3
"""Standard deviation of the heat as a share of the side of a box, and its least value in cells. A share of 0.09 is the
0.54 / 6 of arXiv:1909.00700."""

POINT_DEVIATION = 1.0
"""Standard deviation of the heat of a point, in cells."""

REACH = 3.0
"""Distance from the middle at which heat ends, in standard deviations."""

BOX_HEAT = 0.05
"""Heat above which a cell learns the sides of the box."""

LEAST_DISTANCE = 0.05
"""Least distance of a cell's middle to a side of its box, in cells: the model gives none that is negative."""

MOST_BESIDE = 0.999
"""Greatest heat of a cell that is not the middle of an object."""

AT_ONCE = 1 << 22
"""Cells that are drawn at a time."""


class DrawnCells(NamedTuple):
    """Targets of the cells of some groups. `key` is number of the group * cells of a group + number of the cell.

    Attributes:
        heat_keys: key * classes + class number, [e], ascending; all others have no heat.
        heat: Heat, [e] float32; 1 in the middle of an object.
        box_keys: key of the cells that learn a box, [f], ascending.
        sides: Distances (top, left, bottom, right) of the middle of the cell to the sides, in cells, [f 4] float32.
        weights: Weights of these cells, [f] float32; those of an object sum to 1.
    """

    heat_keys: Integers
    heat: NDArray[np.float32]
    box_keys: Integers
    sides: NDArray[np.float32]
    weights: NDArray[np.float32]


class Turn(NamedTuple):
    """How groups are turned, see `augmentation.turn_patches`."""

    quarters: int = 0
    mirror: bool = False


def draw_cells(
    boxes: Floats,
    numbers: Integers,
    layout: CellLayout,
    shape: tuple[int, int],
    places: Sequence[tuple[int, int]],
    classes: int,
    turn: Turn = Turn(),  # noqa: B008
) -> DrawnCells:
    """Draw the targets of groups.

    Args:
        boxes: Boxes (left, top, right, bottom) [n 4] in pixels of the canvas; points have no width and height.
        numbers: Class numbers, [n].
        layout: Cells of the model.
        shape: (rows, columns) of groups over the canvas.
        places: (row, column) of the groups to draw.
        classes: Number of classes.
        turn: How each group is turned.
    """
    heat, regressed = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    group_numbers = np.full(shape, -1, np.int64)
    if places:
        rows, columns = np.array(places).T
        group_numbers[rows, columns] = np.arange(len(places))
    reach = Footprints.of(boxes, layout.cell, shape, layout.side)
    for part in reach.parts():
        cells = reach.cells(part, group_numbers, layout, turn)
        heat.append(np.stack([cells.keys * classes + numbers[cells.objects], cells.heat], axis=1))
        regressed.append(_regressed(cells, boxes, layout.cell, turn))
    return _joined(heat, regressed)


class FootprintCells(NamedTuple):
    """Cells [c] around the middles of objects that lie in groups which are drawn.

    Attributes:
        objects: Number of the object.
        keys: See `DrawnCells`.
        rows, columns: Place of the cell on the canvas.
        heat: Heat of the object there.
        total: Sum of the object's heat above `BOX_HEAT`, also in groups that are not drawn.
    """

    objects: Integers
    keys: Integers
    rows: Integers
    columns: Integers
    heat: Floats
    total: Floats


class Footprints(NamedTuple):
    """The cells around the middle of each object, [n ...] in cells of the canvas.

    Attributes:
        middles: (row, column) of the cell in the middle.
        offsets: Distances (down, right) of the middle of the object from that of this cell.
        deviations: Standard deviations along (height, width).
        first, last: First and last (row, column) of the cells.
    """

    middles: Integers
    offsets: Floats
    deviations: Floats
    first: Integers
    last: Integers

    @classmethod
    def of(cls, boxes: Floats, cell: int, shape: tuple[int, int], side: int) -> Footprints:
        """Return the cells around the middles of boxes."""
        exact = (boxes[:, [1, 0]] + boxes[:, [3, 2]]) / (2 * cell)
        middles = np.floor(exact).astype(np.int64)
        sizes = (boxes[:, [3, 2]] - boxes[:, [1, 0]]) / cell
        deviations = np.maximum(DEVIATION * sizes, LEAST_DEVIATION)
        deviations[~sizes.any(axis=1)] = POINT_DEVIATION
        reach = np.floor(REACH * deviations).astype(np.int64)
        most = np.array(shape) * side - 1
        return cls(
            middles,
            exact - middles - 0.5,
            deviations,
            np.maximum(middles - reach, 0),
            np.minimum(middles + reach, most),
        )

    def parts(self) -> list[Integers]:
        """Return numbers of objects whose cells are drawn together, without objects that have no cell on the canvas."""
        areas = (self.last - self.first + 1).clip(0).prod(axis=1)
        present = np.flatnonzero(areas)
        bounds = np.searchsorted(np.cumsum(areas[present]), np.arange(AT_ONCE, areas.sum(), AT_ONCE))
        return [part for part in np.split(present, np.unique(bounds)) if len(part)]

    def cells(self, objects: Integers, group_numbers: Integers, layout: CellLayout, turn: Turn) -> FootprintCells:
        """Return the cells of some objects."""
        first, last = self.first[objects], self.last[objects]
        heights = last[:, 0] - first[:, 0] + 1
        rows = concatenated_ranges(first[:, 0], last[:, 0] + 1)
        of_row = np.repeat(np.arange(len(objects)), heights)
        columns = concatenated_ranges(first[of_row, 1], last[of_row, 1] + 1)
        widths = last[of_row, 1] - first[of_row, 1] + 1
        rows, owner = np.repeat(rows, widths), np.repeat(of_row, widths)
        numbers = objects[owner]
        beside = np.stack([rows, columns], axis=1) - self.middles[numbers]
        # Differences of squares of distances: (b - o)² - o².
        away = beside * (beside - 2 * self.offsets[numbers]) / np.square(self.deviations[numbers])
        heat = np.where(beside.any(axis=1), np.exp(-0.5 * away.sum(axis=1)).clip(max=MOST_BESIDE), 1.0)
        total: Floats = np.bincount(owner, np.where(heat > BOX_HEAT, heat, 0.0), minlength=len(objects)).astype(
            np.float64
        )[owner]
        groups = group_numbers[rows // layout.side, columns // layout.side]
        own = np.flatnonzero(groups >= 0)
        rows, columns = rows[own], columns[own]
        within = layout.turned(rows % layout.side, columns % layout.side, *turn)
        keys = groups[own] * layout.count + layout.numbers(*within)
        return FootprintCells(numbers[own], keys, rows, columns, heat[own], total[own])


def _regressed(cells: FootprintCells, boxes: Floats, cell: int, turn: Turn) -> Floats:
    """Return key, area of the box, number of the object, weight and distances of the cells that learn a box, [f 8]."""
    some = np.flatnonzero((cells.heat > BOX_HEAT) & (boxes[cells.objects, 2] > boxes[cells.objects, 0]))
    own = boxes[cells.objects[some]]
    y, x = (cells.rows[some] + 0.5), (cells.columns[some] + 0.5)
    left, top, right, bottom = own.T / cell
    sides = np.stack([y - top, x - left, bottom - y, right - x], axis=1).clip(LEAST_DISTANCE)
    area = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
    weights = cells.heat[some] / cells.total[some]
    return np.column_stack([cells.keys[some], area, cells.objects[some], weights, turned_sides(sides, *turn)])


def _joined(heat: list[Floats], regressed: list[Floats]) -> DrawnCells:
    """Keep the greatest heat of each class and the smallest box of each cell; of equal ones, the first object's."""
    heats, boxes = np.concatenate([np.empty((0, 2)), *heat]), np.concatenate([np.empty((0, 8)), *regressed])
    heats = heats[np.lexsort((-heats[:, 1], heats[:, 0]))]
    heats = heats[_firsts(heats[:, 0])]
    boxes = boxes[np.lexsort((boxes[:, 2], boxes[:, 1], boxes[:, 0]))]
    boxes = boxes[_firsts(boxes[:, 0])]
    return DrawnCells(
        heats[:, 0].astype(np.int64),
        heats[:, 1].astype(np.float32),
        boxes[:, 0].astype(np.int64),
        boxes[:, 4:].astype(np.float32),
        boxes[:, 3].astype(np.float32),
    )


def _firsts(keys: Floats) -> NDArray[np.bool_]:
    """Return which of sorted keys differ from the one before."""
    differ: NDArray[np.bool_] = np.diff(keys, prepend=-1) != 0
    return differ
