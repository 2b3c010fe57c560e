"""Cells are numbered as the head gives them, and turned as patches are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fitcli.data.augmentation import turn_patches
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.detect.cell_layout import CellLayout, turned_sides
from models.dense import cell_map

LAYOUT = CellLayout(patch=4, group=3, cells=2)


def test_numbers_and_places_are_inverse_and_those_of_the_head() -> None:
    rows, columns = LAYOUT.places(np.arange(LAYOUT.count))
    assert np.array_equal(LAYOUT.numbers(rows, columns), np.arange(LAYOUT.count))
    drawn = cell_map(torch.arange(LAYOUT.count).view(1, 9, 4), LAYOUT.group, LAYOUT.cells)[0]
    assert (drawn[rows, columns].numpy() == np.arange(LAYOUT.count)).all()
    assert (LAYOUT.cell, LAYOUT.side) == (2, 6)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_turned_as_patches(quarters: int, mirror: bool) -> None:
    """A patch of one value per cell is turned; so must the numbers be."""
    grid = PatchGrid((12, 12), 2, 3)
    values = torch.arange(LAYOUT.count).view(1, 9, 4)
    turned = turn_patches(values, grid, quarters, mirror).flatten()
    rows, columns = LAYOUT.places(np.arange(LAYOUT.count))
    places = LAYOUT.numbers(*LAYOUT.turned(rows, columns, quarters, mirror))
    assert turned[places].tolist() == list(range(LAYOUT.count))


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_sides_turn_with_the_box(quarters: int, mirror: bool) -> None:
    """Distances of a marked pixel to the sides of a turned picture."""
    picture = np.zeros((7, 9), int)
    picture[1, 2] = 1

    def distances(image: np.ndarray) -> list[float]:
        (y,), (x,) = np.nonzero(image)
        return [y, x, image.shape[0] - 1 - y, image.shape[1] - 1 - x]

    turned = np.rot90(picture, quarters)
    turned = turned[:, ::-1] if mirror else turned
    assert turned_sides(np.array(distances(picture), float), quarters, mirror).tolist() == distances(turned)
