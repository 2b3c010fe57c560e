"""Cells of groups become strips of the image: those of the whole map, whatever the handfuls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fitcli.patches.grid import PatchGrid
from fitcli.tasks.segment.strips import NOT_SEEN, Strips, pixels_of

PATCH, GROUP = 4, 3
SIZES = [(24, 36), (25, 37), (13, 50), (50, 12), (1, 1), (5, 3), (36, 40)]


def cells_of(image: np.ndarray[Any, Any], grid: PatchGrid, cells: int) -> torch.Tensor:
    """Cut a map of whole groups into cells [g n q*q ...], one by one."""
    tail = image.shape[2:]
    values = np.zeros((grid.count, grid.group**2, cells**2, *tail), np.uint8)
    for y, x in np.ndindex(image.shape[:2]):
        row, column = y // (grid.group * cells), x // (grid.group * cells)
        patch = y // cells % grid.group * grid.group + x // cells % grid.group
        values[row * grid.columns + column, patch, y % cells * cells + x % cells] = image[y, x]
    return torch.tensor(values)


@pytest.mark.parametrize("tail", [(), (3,)], ids=["classes", "classes and probabilities"])
@pytest.mark.parametrize("cells", [1, 2, 4])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_strips_are_the_rows_of_the_map(size: tuple[int, int], cells: int, tail: tuple[int, ...]) -> None:
    rng, grid, cell = np.random.default_rng(0), PatchGrid(size, PATCH, GROUP), PATCH // cells
    side = GROUP * cells
    image = rng.integers(0, 250, (grid.rows * side, grid.columns * side, *tail)).astype(np.uint8)
    values, every = cells_of(image, grid, cells), list(grid.coordinates())
    some = [place for place in every if rng.random() < 0.6] or every[-1:]
    last = every[-1:]
    for places in (every, some, last):
        expected = np.full_like(image, NOT_SEEN)
        for row, column in places:
            part = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
            expected[part] = image[part]
        expected = expected[: -(-size[0] // cell), : -(-size[1] // cell)]
        for handful in (1, 2, 3, 7, 1000):
            taken: list[tuple[int, np.ndarray[Any, Any]]] = []
            strips = Strips(grid, cells, lambda row, strip, taken=taken: taken.append((row, strip)))  # type: ignore[misc]
            for start in range(0, len(places), handful):
                part_of = places[start : start + handful]
                strips.put(part_of, values[[row * grid.columns + column for row, column in part_of]])
            strips.finish()
            assert [row for row, _ in taken] == list(range(grid.rows))
            assert all(len(strip) == side for _, strip in taken[:-1])
            np.testing.assert_array_equal(np.concatenate([strip for _, strip in taken]), expected)
            assert all(strip.flags.c_contiguous and strip.dtype == np.uint8 for _, strip in taken)


def test_a_strip_is_given_as_soon_as_a_lower_group_comes() -> None:
    grid, taken = PatchGrid((48, 24), PATCH, GROUP), list[int]()
    strips = Strips(grid, 1, lambda row, strip: taken.append(row))
    one = torch.zeros(1, 9, 1, dtype=torch.uint8)
    for place, expected in (((0, 0), []), ((0, 1), []), ((1, 0), [0]), ((3, 1), [0, 1, 2])):
        strips.put([place], one)
        assert taken == expected
    strips.finish()
    assert taken == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1), (4, 8)])
def test_a_pixel_has_the_value_of_its_cell(size: tuple[int, int]) -> None:
    cell = 2
    rows, columns = -(-size[0] // cell), -(-size[1] // cell)
    for tail in ((), (4,)):
        cells = np.random.default_rng(1).integers(0, 256, (rows, columns, *tail)).astype(np.uint8)
        pixels = pixels_of(cells, cell, *size)
        assert pixels.shape == (*size, *tail)
        for y, x in np.ndindex(*size):
            np.testing.assert_array_equal(pixels[y, x], cells[y // cell, x // cell])
