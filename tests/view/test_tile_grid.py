"""Levels and tiles cover an image once, and nothing else is a tile."""

from __future__ import annotations

import pytest

from fitcli.view.tile_grid import TileGrid


@pytest.mark.parametrize(("size", "top", "lowest"), [((1, 1), 0, 0), ((256, 257), 9, 9), ((20000, 300), 15, 9)])
def test_levels(size: tuple[int, int], top: int, lowest: int) -> None:
    grid = TileGrid(*size)
    assert (grid.top, grid.lowest) == (top, lowest)
    assert grid.step(top) == 1
    assert max(size) / grid.step(lowest) <= 512


def test_only_tiles_with_a_pixel_are_there() -> None:
    grid = TileGrid(300, 700)
    assert grid.has(grid.top, 2, 1)
    for column, row in ((3, 0), (0, 2), (-1, 0), (10**9, 0)):
        assert not grid.has(grid.top, column, row)
    assert not grid.has(-1, 0, 0)
    assert not grid.has(grid.top + 1, 0, 0)
    assert grid.has(grid.top + 1, 5, 2, finer=1)
