"""Turning groups equals turning the image and cutting it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fitcli.data.augmentation import turn_groups, turn_patches
from fitcli.patches.cutting import groups_of, to_patches
from fitcli.patches.grid import PatchGrid

WAYS = [(quarters, mirror) for quarters in range(4) for mirror in (False, True)]


@pytest.mark.parametrize(("quarters", "mirror"), WAYS)
def test_turning_groups_equals_turning_the_image(quarters: int, mirror: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 48, 3), dtype=np.uint8)
    grid = PatchGrid((24, 48), 4, 3)
    patches = turn_patches(to_patches(pixels, grid), grid, quarters, mirror)
    groups = turn_groups(groups_of(grid), grid, quarters, mirror)

    whole = np.rot90(pixels, quarters)
    whole = np.ascontiguousarray(whole[:, ::-1] if mirror else whole)
    expected = PatchGrid(whole.shape[:2], 4, 3)
    order = groups.number.argsort()
    assert torch.equal(patches[order], to_patches(whole, expected))
    assert torch.equal(groups.coordinates[order], groups_of(expected).coordinates)


@pytest.mark.parametrize(("quarters", "mirror"), WAYS)
def test_padding_moves_with_the_pixels(quarters: int, mirror: bool) -> None:
    pixels = np.ones((17, 30, 1), np.uint8)
    grid = PatchGrid((17, 30), 4, 3)
    before, groups = to_patches(pixels, grid), groups_of(grid)
    assert groups.mask is not None
    before = before.masked_fill(~groups.mask[..., None], 0)
    patches, moved = turn_patches(before, grid, quarters, mirror), turn_groups(groups, grid, quarters, mirror)
    assert moved.mask is not None
    assert torch.equal(patches[..., 0] > 0, moved.mask)
    assert moved.coordinates.min() == 0
    assert moved.coordinates.amax(0).tolist() == ([1, 2] if quarters % 2 == 0 else [2, 1])
