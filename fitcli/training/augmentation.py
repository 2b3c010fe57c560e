"""Turns and mirrors images that are cut into groups already: groups, patches and pixels move together."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from fitcli.grid import PatchGrid
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
