"""Arranges groups and patches over an image. Integer geometry, standard library only.

An image of any size is padded to whole groups at its lower and right edge. Every pixel of the image belongs to exactly
one patch. Patches without a pixel of the image are padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fitcli.images.window import Window


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """Groups of `group` x `group` patches of `patch` x `patch` pixels over an image.

    Attributes:
        size: (height, width) of the image in pixels.
        patch: Pixels per side of a patch.
        group: Patches per side of a group.

    Raises:
        ValueError: A size, patch or group is below 1.
    """

    size: tuple[int, int]
    patch: int
    group: int

    def __post_init__(self) -> None:
        if min(*self.size, self.patch, self.group) < 1:
            raise ValueError(f"no grid of {self.group} x {self.patch} pixel patches over an image of {self.size}")

    @property
    def group_pixels(self) -> int:
        """Pixels per side of a group."""
        return self.patch * self.group

    @property
    def rows(self) -> int:
        """Rows of groups."""
        return -(-self.size[0] // self.group_pixels)

    @property
    def columns(self) -> int:
        """Columns of groups."""
        return -(-self.size[1] // self.group_pixels)

    @property
    def count(self) -> int:
        """Number of groups."""
        return self.rows * self.columns

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) in pixels of the image padded to whole groups."""
        return self.rows * self.group_pixels, self.columns * self.group_pixels

    def coordinates(self) -> Iterator[tuple[int, int]]:
        """Return (row, column) of every group, row by row."""
        return ((row, column) for row in range(self.rows) for column in range(self.columns))

    def window(self, row: int, column: int) -> Window:
        """Return the window of a group on the padded image.

        Raises:
            IndexError: The grid has no such group.
        """
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise IndexError(f"no group ({row}, {column}) in a grid of {self.rows} x {self.columns}")
        side = self.group_pixels
        return Window(row * side, column * side, side, side)

    def filled(self, row: int, column: int) -> tuple[int, int]:
        """Return (rows, columns) of the patches of a group that hold a pixel of the image; the others are padding."""
        inside = self.window(row, column).clip(*self.size)
        return -(-inside.height // self.patch), -(-inside.width // self.patch)

    def is_whole(self, row: int, column: int) -> bool:
        """Return whether no patch of the group is padding."""
        return self.filled(row, column) == (self.group, self.group)
