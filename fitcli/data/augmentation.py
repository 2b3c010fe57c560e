"""Turns and mirrors images that are cut into groups, and hides some of their patches."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from fitcli.patches.grid import PatchGrid
from models.groups import Groups

SAME_WIDTH = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""Signed types of the width of unsigned ones."""


def turn_patches(patches: Tensor, grid: PatchGrid, quarters: int, mirror: bool) -> Tensor:
    """Turn the pixels of groups, as `turn_groups` turns their positions. Padding turns with the image.

    Args:
        patches: [g n p] of groups of one image.
        grid: Arrangement of groups over the image.
        quarters: Number of turns by 90 degrees, counter-clockwise as in `numpy.rot90`.
        mirror: Whether to swap left and right afterwards.

    Returns:
        Patches [g n p], in the order of the groups that were given.
    """
    # torch flips no unsigned integers wider than a byte: the bits are moved as those of signed ones.
    bits = patches.view(SAME_WIDTH.get(patches.dtype, patches.dtype))
    values = rearrange(bits, "g (i j) (y x a) -> g i y j x a", i=grid.group, y=grid.patch, x=grid.patch)
    for _ in range(quarters % 4):
        values = rearrange(values, "g i y j x a -> g j x i y a").flip(1, 2)
    if mirror:
        values = values.flip(3, 4)
    return rearrange(values, "g i y j x a -> g (i j) (y x a)").view(patches.dtype)


def turn_groups(groups: Groups, grid: PatchGrid, quarters: int, mirror: bool) -> Groups:
    """Turn the positions and masks of groups of one image. For the arguments see `turn_patches`.

    `groups` may be any part of the grid, in any order; the order stays.
    """
    mask = None if groups.mask is None else rearrange(groups.mask, "g (i j) -> g i j", i=grid.group)
    row, column = groups.coordinates.unbind(-1)
    rows, columns = grid.rows, grid.columns
    for _ in range(quarters % 4):
        # The group at (row, column) moves to (columns - 1 - column, row).
        mask = None if mask is None else mask.mT.flip(1)
        row, column, rows, columns = columns - 1 - column, row, columns, rows
    if mirror:
        mask = None if mask is None else mask.flip(2)
        column = columns - 1 - column
    return groups._replace(
        coordinates=torch.stack([row, column], dim=-1),
        number=row * columns + column,
        mask=None if mask is None else rearrange(mask, "g i j -> g (i j)"),
    )


def beyond_margin(
    positions: Iterable[tuple[int, int]], grid: PatchGrid, margin: tuple[int, int]
) -> list[tuple[int, int]]:
    """Return the positions of groups that hold pixels of the image.

    Args:
        positions: (row, column) of groups of a canvas.
        grid: Arrangement of groups over the canvas.
        margin: (top, left) pixels between the edges of the canvas and the image.
    """
    first = tuple(pixels // grid.group_pixels for pixels in margin)
    return [(row, column) for row, column in positions if row >= first[0] and column >= first[1]]


def mask_margin(groups: Groups, grid: PatchGrid, margin: tuple[int, int]) -> Groups:
    """Return the groups with the patches in the margin masked as padding.

    Args:
        groups: Groups of a canvas, in the coordinates of its grid.
        grid: Arrangement of groups over the canvas.
        margin: (top, left) pixels between the edges of the canvas and the image.
    """
    steps = torch.arange(grid.group)
    positions = groups.coordinates[:, :, None] * grid.group + steps  # of patches: [g 2 group]
    inside = positions >= torch.tensor([pixels // grid.patch for pixels in margin])[:, None]
    if bool(inside.all()):
        return groups
    mask = rearrange(inside[:, 0, :, None] & inside[:, 1, None, :], "g i j -> g (i j)")
    return groups._replace(mask=mask if groups.mask is None else mask & groups.mask)


def hide_patches(groups: Groups, tokens: int, rate: float, rng: np.random.Generator, equally: bool = True) -> Groups:
    """Return the groups with random patches masked as padding; at least one patch of each group stays.

    Args:
        groups: Groups of one image.
        tokens: Patches per group.
        rate: Probability in [0, 1) that a patch is hidden.
        rng: Source of the random choice.
        equally: Whether groups with equally many patches keep equally many, so that they stay one dense batch.
            Otherwise each patch is hidden or not for itself.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    drawn = torch.rand(len(groups.number), tokens, generator=generator)
    real = torch.ones(drawn.shape, dtype=torch.bool) if groups.mask is None else groups.mask
    if not equally:
        drawn = drawn.masked_fill(~real, -1)
        return groups._replace(mask=real & ((drawn >= rate) | (drawn == drawn.amax(dim=1, keepdim=True))))
    count = real.sum(dim=1)
    # Rounded at random, but the same way in all groups, so that small groups lose patches too.
    hidden = (rate * count + torch.rand((), generator=generator)).floor().minimum(count - 1)
    place = drawn.masked_fill(~real, 1).argsort(dim=1).argsort(dim=1)  # of each patch among those of its group
    return groups._replace(mask=real & (place >= hidden[:, None]))
