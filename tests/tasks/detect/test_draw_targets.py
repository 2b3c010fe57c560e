"""Targets of cells, against a slow version that draws one object after the other on the whole canvas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.detect_models import LAYOUT, random_boxes

from fitcli.tasks.detect import draw_targets as module
from fitcli.tasks.detect.draw_targets import BOX_HEAT, DrawnCells, Turn, draw_cells

SHAPE = (3, 4)
CLASSES = 2


def slow(boxes: Any, numbers: Any) -> tuple[Any, Any, Any]:
    """Return heat [k rows columns], distances [4 rows columns] and weights [rows columns] on the canvas."""
    rows, columns, cell = SHAPE[0] * LAYOUT.side, SHAPE[1] * LAYOUT.side, LAYOUT.cell
    heat, sides, weights = np.zeros((CLASSES, rows, columns)), np.zeros((4, rows, columns)), np.zeros((rows, columns))
    y, x = np.mgrid[:rows, :columns]
    order = sorted(range(len(boxes)), key=lambda n: (-(boxes[n][2] - boxes[n][0]) * (boxes[n][3] - boxes[n][1]), -n))
    for number in order:
        left, top, right, bottom = boxes[number] / cell
        is_point = right == left and bottom == top
        sy, sx = (1.0, 1.0) if is_point else (max(0.09 * (bottom - top), 1 / 3), max(0.09 * (right - left), 1 / 3))
        own = heat_of(boxes[number] / cell, sy, sx)
        heat[numbers[number]] = np.maximum(heat[numbers[number]], own)
        some = own > BOX_HEAT
        if not is_point and some.any():
            weights[some] = own[some] / own[some].sum()
            distances = np.stack([y + 0.5 - top, x + 0.5 - left, bottom - y - 0.5, right - x - 0.5]).clip(0.05)
            sides[:, some] = distances[:, some]
    return heat, sides, weights


def heat_of(box: Any, sy: float, sx: float) -> Any:
    """The heat of an object on the canvas: that of a bell around its middle, over the value in the cell there."""
    rows, columns = SHAPE[0] * LAYOUT.side, SHAPE[1] * LAYOUT.side
    y, x = np.mgrid[:rows, :columns]
    middle_y, middle_x = (box[1] + box[3]) / 2, (box[0] + box[2]) / 2
    iy, ix = int(np.floor(middle_y)), int(np.floor(middle_x))

    def bell(row: Any, column: Any) -> Any:
        down, right = row + 0.5 - middle_y, column + 0.5 - middle_x
        return np.exp(-(down**2) / (2 * sy**2) - right**2 / (2 * sx**2))

    inside = (abs(y - iy) <= int(3 * sy)) & (abs(x - ix) <= int(3 * sx))
    heat = np.where(inside, np.minimum(bell(y, x) / bell(iy, ix), 0.999), 0)
    heat[(y == iy) & (x == ix)] = 1
    return heat


def canvas_of(drawn: DrawnCells, places: list[tuple[int, int]]) -> tuple[Any, Any, Any]:
    """Lay drawn cells out as `slow` does."""
    rows, columns = SHAPE[0] * LAYOUT.side, SHAPE[1] * LAYOUT.side
    heat, sides, weights = np.zeros((CLASSES, rows, columns)), np.zeros((4, rows, columns)), np.zeros((rows, columns))

    def where(keys: Any) -> tuple[Any, Any]:
        group, number = np.divmod(keys, LAYOUT.count)
        row, column = LAYOUT.places(number)
        base = np.array(places).reshape(-1, 2)[group] * LAYOUT.side
        return base[:, 0] + row, base[:, 1] + column

    keys, kinds = np.divmod(drawn.heat_keys, CLASSES)
    y, x = where(keys)
    heat[kinds, y, x] = drawn.heat
    y, x = where(drawn.box_keys)
    sides[:, y, x], weights[y, x] = drawn.sides.T, drawn.weights
    return heat, sides, weights


def boxes_of(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 12, 40, side=rng.choice([3.0, 10.0, 25.0]))
    return boxes, rng.integers(0, CLASSES, 12)


EVERY = [(row, column) for row in range(SHAPE[0]) for column in range(SHAPE[1])]


@pytest.mark.parametrize("seed", range(12))
def test_equal_to_one_after_the_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:
        monkeypatch.setattr(module, "AT_ONCE", 20)
    boxes, numbers = boxes_of(seed)
    drawn = draw_cells(boxes, numbers, LAYOUT, SHAPE, EVERY, CLASSES)
    for mine, theirs in zip(canvas_of(drawn, EVERY), slow(boxes, numbers), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_groups_can_be_drawn_one_by_one(seed: int) -> None:
    boxes, numbers = boxes_of(seed)
    whole = canvas_of(draw_cells(boxes, numbers, LAYOUT, SHAPE, EVERY, CLASSES), EVERY)
    parts = [canvas_of(draw_cells(boxes, numbers, LAYOUT, SHAPE, [place], CLASSES), [place]) for place in EVERY]
    for mine, theirs in zip(map(sum, zip(*parts, strict=True)), whole, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("turn", [Turn(quarters, mirror) for quarters in range(4) for mirror in (False, True)])
def test_turned_cells_are_those_of_a_turned_canvas(turn: Turn) -> None:
    """A single group: turning the objects or turning the cells is the same, but for middles on borders of cells."""
    side = LAYOUT.side * LAYOUT.cell
    boxes = np.array([(1.3, 2.1, 8.2, 5.4), (5.5, 7.7, 10.9, 11.2)])
    turned = boxes
    for _ in range(turn.quarters):
        left, top, right, bottom = turned.T
        turned = np.stack([top, side - right, bottom, side - left], axis=1)
    if turn.mirror:
        left, top, right, bottom = turned.T
        turned = np.stack([side - right, top, side - left, bottom], axis=1)
    numbers = np.array([0, 1])
    one = draw_cells(boxes, numbers, LAYOUT, (1, 1), [(0, 0)], CLASSES, turn)
    other = draw_cells(turned, numbers, LAYOUT, (1, 1), [(0, 0)], CLASSES)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_points_have_heat_alone() -> None:
    drawn = draw_cells(np.array([(5.0, 5.0, 5.0, 5.0)]), np.array([1]), LAYOUT, (1, 1), [(0, 0)], CLASSES)
    assert len(drawn.box_keys) == 0
    assert (drawn.heat == 1).sum() == 1
    assert len(drawn.heat) == 36, "three cells around it, in a group of six"


def test_every_object_has_one_middle_and_the_weight_1() -> None:
    boxes = np.array([(2.0, 2.0, 8.0, 8.0), (20.0, 3.0, 45.0, 30.0)])
    drawn = draw_cells(boxes, np.array([0, 0]), LAYOUT, SHAPE, EVERY, CLASSES)
    assert (drawn.heat == 1).sum() == 2
    assert drawn.weights.sum() == pytest.approx(2, abs=1e-5)


def test_a_neighbour_that_is_as_near_has_almost_the_heat_of_the_middle() -> None:
    """An object of 8 pixels whose middle lies on a border of two cells, between the centres of both."""
    cell = LAYOUT.cell
    middle = np.array([3.0 * cell, 2.5 * cell])
    near = draw_cells(np.array([[*(middle - 4), *(middle + 4)]]), np.array([0]), LAYOUT, (1, 1), [(0, 0)], CLASSES)
    assert sorted(near.heat)[-2:] == pytest.approx([0.999, 1])
    assert near.weights.max() == pytest.approx(0.5, abs=0.01), "both learn its sides"
    away = middle - [0.5 * cell, 0]
    far = draw_cells(np.array([[*(away - 4), *(away + 4)]]), np.array([0]), LAYOUT, (1, 1), [(0, 0)], CLASSES)
    assert sorted(far.heat)[-2] < 0.05


def test_nothing() -> None:
    drawn = draw_cells(np.empty((0, 4)), np.empty(0, np.int64), LAYOUT, SHAPE, EVERY, CLASSES)
    assert all(len(each) == 0 for each in drawn)
    far = draw_cells(np.array([(900.0, 900.0, 950.0, 950.0)]), np.array([0]), LAYOUT, SHAPE, EVERY, CLASSES)
    assert all(len(each) == 0 for each in far)
