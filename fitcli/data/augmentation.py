"""Turns, mirrors, moves and thins out images that are cut into groups: groups, patches and pixels move together."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from fitcli.patches.grid import PatchGrid
from models.groups import Groups


def turned(patches: Tensor, groups: Groups, grid: PatchGrid, quarters: int, mirror: bool) -> tuple[Tensor, Groups]:
    """One of the eight ways to lay an image on its grid.

    The grid turns with the image: padding that was at the lower and right edges goes where these go.

    Args:
        patches: [g n p] of groups of one image.
        groups: Where they lie; any part of the grid, in any order.
        grid: The arrangement over the image.
        quarters: Turns by 90 degrees, counter-clockwise as `numpy.rot90`.
        mirror: Swap left and right afterwards.

    Returns:
        Patches and groups, in the same order.
    """
    return turned_patches(patches, grid, quarters, mirror), turned_groups(groups, grid, quarters, mirror)


def turned_patches(patches: Tensor, grid: PatchGrid, quarters: int, mirror: bool) -> Tensor:
    """What `turned` makes of patches [g n p]."""
    values = rearrange(patches, "g (i j) (y x a) -> g i y j x a", i=grid.group, y=grid.patch, x=grid.patch)
    for _ in range(quarters % 4):
        values = rearrange(values, "g i y j x a -> g j x i y a").flip(1, 2)
    if mirror:
        values = values.flip(3, 4)
    return rearrange(values, "g i y j x a -> g (i j) (y x a)")


def turned_groups(groups: Groups, grid: PatchGrid, quarters: int, mirror: bool) -> Groups:
    """What `turned` makes of groups."""
    mask = None if groups.mask is None else rearrange(groups.mask, "g (i j) -> g i j", i=grid.group)
    row, column = groups.coordinates.unbind(-1)
    rows, columns = grid.rows, grid.columns
    for _ in range(quarters % 4):
        # The square that was at (row, column) comes to (columns - 1 - column, row).
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


def beside_margin(places: Iterable[tuple[int, int]], grid: PatchGrid, margin: tuple[int, int]) -> list[tuple[int, int]]:
    """The groups that hold pixels of an image that lies `margin` (top, left) pixels from the edges of its canvas."""
    first = tuple(pixels // grid.group_pixels for pixels in margin)
    return [(row, column) for row, column in places if row >= first[0] and column >= first[1]]


def without_margin(groups: Groups, grid: PatchGrid, margin: tuple[int, int]) -> Groups:
    """The same, where patches in the margin are padding.

    Args:
        groups: Of a canvas, in the coordinates of its grid.
        grid: The arrangement over the canvas.
        margin: (top, left), pixels of the canvas that are not of the image.
    """
    steps = torch.arange(grid.group)
    places = groups.coordinates[:, :, None] * grid.group + steps  # [g 2 group]
    inside = places >= torch.tensor([pixels // grid.patch for pixels in margin])[:, None]
    if bool(inside.all()):
        return groups
    mask = rearrange(inside[:, 0, :, None] & inside[:, 1, None, :], "g i j -> g (i j)")
    return groups._replace(mask=mask if groups.mask is None else mask & groups.mask)


def thinned(groups: Groups, tokens: int, rate: float, rng: np.random.Generator) -> Groups:
    """The same, where each of the `tokens` patches of a group is hidden with a probability; one of each group stays."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    drawn = torch.rand(len(groups.number), tokens, generator=generator)
    if groups.mask is not None:
        drawn = drawn.masked_fill(~groups.mask, -1)
    kept = (drawn >= rate) | (drawn == drawn.amax(dim=1, keepdim=True))
    return groups._replace(mask=kept if groups.mask is None else kept & groups.mask)
