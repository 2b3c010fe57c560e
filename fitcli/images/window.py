"""Rectangles of pixels: integer geometry, without files or arrays."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: rows `top .. top + height - 1`, columns `left .. left + width - 1`.

    `top` and `left` may be negative: a window may extend beyond its image.

    Raises:
        ValueError: `height` or `width` is negative.
    """

    top: int
    left: int
    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 0 or self.width < 0:
            raise ValueError(f"a window cannot be {self.height} x {self.width} pixels")

    @property
    def bottom(self) -> int:
        """First row below the window."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """First column right of the window."""
        return self.left + self.width

    @property
    def area(self) -> int:
        return self.height * self.width

    def intersection(self, other: Window) -> Window:
        """Return the part that both windows cover; an empty window (area 0) if they don't overlap."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Window(top, left, max(bottom - top, 0), max(right - left, 0))

    def clip(self, height: int, width: int) -> Window:
        """Return the part of the window that lies on an image of `height` x `width` pixels."""
        return self.intersection(Window(0, 0, height, width))

    def shift(self, rows: int, columns: int) -> Window:
        """Return the same rectangle, moved down by `rows` and right by `columns`."""
        return Window(self.top + rows, self.left + columns, self.height, self.width)

    def slices(self) -> tuple[slice, slice]:
        """Return the row and column slices that cut this window out of an array. Requires `top, left >= 0`."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def chunks(self, height: int, width: int) -> list[tuple[int, int]]:
        """Return (row, column) of all chunks of `height` x `width` pixels that the window touches, row by row."""
        if self.area == 0:
            return []
        rows = range(self.top // height, (self.bottom - 1) // height + 1)
        columns = range(self.left // width, (self.right - 1) // width + 1)
        return [(row, column) for row in rows for column in columns]
