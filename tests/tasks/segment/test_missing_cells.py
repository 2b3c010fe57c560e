"""Cells without a pixel have no class, whatever the sizes of image, cell and pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fitcli.images.array_image import ArrayReader
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.segment import missing_cells
from fitcli.tasks.segment.missing_cells import without_missing_cells
from fitcli.tasks.segment.strips import NOT_SEEN


def marked(pixels: NDArray[Any], cell: int, values: int = 1) -> NDArray[np.uint8]:
    """Return the map of an image whose cells are all of class 0, after the marks."""
    grid, strips = PatchGrid(pixels.shape[:2], 2 * cell, 2), list[NDArray[Any]]()
    take = without_missing_cells(ArrayReader(pixels), grid, cell, lambda _, strip: strips.append(strip))
    for row in range(grid.rows):
        height = min(grid.group_pixels, pixels.shape[0] - row * grid.group_pixels)
        take(row, np.zeros((-(-height // cell), -(-pixels.shape[1] // cell), values), np.uint8))
    return np.concatenate(strips)


@pytest.mark.parametrize("cell", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (7, 23), (40, 40)])
@pytest.mark.parametrize("piece", [1, 50, 1 << 22])
def test_a_cell_is_missing_if_all_its_pixels_are(
    size: tuple[int, int], cell: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_cells, "PIECE_VALUES", piece)
    rng = np.random.default_rng(0)
    pixels = rng.random((*size, 2), np.float32)
    pixels[rng.random(size) < 0.8] = np.nan
    pixels[: size[0] // 2] = np.nan
    found = marked(pixels, cell)[..., 0]
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            own = pixels[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            assert found[row, column] == (NOT_SEEN if np.isnan(own).all() else 0)


def test_all_values_of_a_cell_are_marked() -> None:
    pixels = np.full((4, 4, 1), np.nan, np.float32)
    assert (marked(pixels, 2, values=3) == NOT_SEEN).all()


def test_an_image_without_nodata_is_not_read_again() -> None:
    reader = ArrayReader(np.zeros((4, 4, 3), np.uint8))

    def take(row: int, cells: NDArray[Any]) -> None:
        raise AssertionError

    assert without_missing_cells(reader, PatchGrid((4, 4), 2, 2), 1, take) is take
