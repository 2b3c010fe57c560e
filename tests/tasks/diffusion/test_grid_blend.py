"""Estimates of two grids are blended so that no border of a group of either shows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fitcli.tasks.diffusion.canvas import CanvasLayout
from fitcli.tasks.diffusion.grid_blend import GridBlend

GROUP, PATCH, CHANNELS = 4, 2, 3
ROWS, COLUMNS = 8, 12
SIDE = GROUP * PATCH
PLAIN, SHIFTED = (CanvasLayout(ROWS, COLUMNS, GROUP, offset) for offset in (0, GROUP // 2))


def shares(own: CanvasLayout, before: CanvasLayout, handful: int = 100) -> Tensor:
    """The shares as an image [height width channels]; 2 where no group gives one."""
    blend, image = GridBlend(own, before, PATCH), torch.full((ROWS * PATCH, COLUMNS * PATCH, CHANNELS), 2.0)
    for start in range(0, own.count, handful):
        part = slice(start, min(start + handful, own.count))
        like = torch.zeros(part.stop - start, GROUP**2, PATCH**2 * CHANNELS, dtype=torch.float64)
        given = blend.share(part, like)
        assert given.dtype == like.dtype
        for (top, left), group in zip(own.places(part), given, strict=True):
            patches = group.reshape(GROUP, GROUP, PATCH, PATCH, CHANNELS)
            for i in range(GROUP):
                for j in range(GROUP):
                    if 0 <= top + i < ROWS and 0 <= left + j < COLUMNS:
                        y, x = (top + i) * PATCH, (left + j) * PATCH
                        image[y : y + PATCH, x : x + PATCH] = patches[i, j]
    return image


@pytest.mark.parametrize(("own", "before"), [(PLAIN, SHIFTED), (SHIFTED, PLAIN)])
def test_all_of_the_inside_and_little_of_the_borders(own: CanvasLayout, before: CanvasLayout) -> None:
    image = shares(own, before)
    assert image.min() > 0
    assert image.max() <= 1
    first = SIDE - own.offset * PATCH  # the first border below and right of the upper left corner
    middle = first + SIDE // 2
    assert image[0, 0].tolist() == [1, 1, 1]
    assert image[first - SIDE // 4 - 1, 0].tolist() == [1, 1, 1]
    # Along a border, away from the borders of the other grid.
    assert image[first - 1, first : first + 1].max() < 0.2
    assert image[first - 1, middle - SIDE // 2 + 1, 0] == image[first, middle - SIDE // 2 + 1, 0]
    # Every step from one side of a border to the other is small.
    across = (image[first] - image[first - 1]).abs()
    assert across.max() < 1e-6


def test_the_edges_of_the_canvas_are_no_borders() -> None:
    image = shares(PLAIN, SHIFTED)
    assert (image[0, : SIDE - SIDE // 4] == 1).all()
    one = CanvasLayout(GROUP, GROUP, GROUP)
    whole = GridBlend(one, CanvasLayout(GROUP, GROUP, GROUP, GROUP // 2), PATCH)
    assert (whole.share(slice(0, 1), torch.zeros(1, GROUP**2, PATCH**2)) == 1).all()


@pytest.mark.parametrize("handful", [1, 2, 5])
def test_the_handful_changes_nothing(handful: int) -> None:
    assert torch.equal(shares(SHIFTED, PLAIN, handful), shares(SHIFTED, PLAIN))
