"""Grids: integer properties that hold for every size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.patch_places import patch_at, patch_window

from fitcli.patches.grid import PatchGrid

sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
grids = st.builds(PatchGrid, sizes, st.integers(1, 9), st.integers(1, 5))


@given(grids)
def test_every_pixel_belongs_to_exactly_one_patch(grid: PatchGrid) -> None:
    owners = np.zeros(grid.size, int)
    for group in range(grid.count):
        for patch in range(grid.group**2):
            window = patch_window(grid, group, patch).clip(*grid.size)
            owners[window.slices()] += 1
            if window.area:
                assert patch_at(grid, window.top, window.left) == (group, patch)
    assert (owners == 1).all()


@given(grids)
def test_group_windows_cover_the_padded_image_once(grid: PatchGrid) -> None:
    cover = np.zeros(grid.padded, int)
    for row, column in grid.coordinates():
        cover[grid.window(row, column).slices()] += 1
    assert (cover == 1).all()
    assert all(0 <= padded - side < grid.group_pixels for padded, side in zip(grid.padded, grid.size, strict=True))


def test_what_lies_outside_is_refused() -> None:
    grid = PatchGrid((10, 12), 4, 2)
    with pytest.raises(IndexError, match="no group"):
        grid.window(2, 0)
    with pytest.raises(ValueError, match="no grid"):
        PatchGrid((0, 4), 4, 2)
