"""Where patches lie on an image, computed pixel by pixel or patch by patch: the code that users run never does so."""

from __future__ import annotations

from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid


def patch_at(grid: PatchGrid, y: int, x: int) -> tuple[int, int]:
    """Return (number of the group, number of the patch in it) for the patch that holds pixel (y, x)."""
    (row, inner_y), (column, inner_x) = divmod(y, grid.group_pixels), divmod(x, grid.group_pixels)
    return row * grid.columns + column, inner_y // grid.patch * grid.group + inner_x // grid.patch


def patch_window(grid: PatchGrid, group: int, patch: int) -> Window:
    """Return the window of patch number `patch` of group number `group` on the padded image."""
    window = grid.window(*divmod(group, grid.columns))
    row, column = divmod(patch, grid.group)
    return Window(window.top + row * grid.patch, window.left + column * grid.patch, grid.patch, grid.patch)
