"""The levels and tiles in which a browser asks for an image. Standard library only.

At level `top` a pixel of a tile is a pixel of the image; at each level below it covers twice as many per side. A tile
is a square of such pixels, which only the browser knows: files have chunks and levels of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TILE = 256
"""Pixels per side of a tile."""

FINER_LEVELS = 5
"""Levels above `top` in which vectors may be asked for: they stay sharp where pixels are large."""


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The tiles of an image.

    Attributes:
        height, width: Size of the image in pixels.
    """

    height: int
    width: int

    @property
    def top(self) -> int:
        """Level at which tiles have the pixels of the image."""
        return max(0, math.ceil(math.log2(max(self.height, self.width))))

    @property
    def lowest(self) -> int:
        """Lowest level that a browser asks for: that of the whole image in a few tiles."""
        return max(0, self.top - max(0, math.ceil(math.log2(max(self.height, self.width) / (2 * TILE)))))

    def step(self, level: int) -> float:
        """Return the pixels of the image per pixel of a level."""
        return 2.0 ** (self.top - level)

    def has(self, level: int, column: int, row: int, finer: int = 0) -> bool:
        """Return whether there is such a tile, `finer` levels above `top` included."""
        if not 0 <= level <= self.top + finer:
            return False
        side = TILE * self.step(level)
        return 0 <= column * side < self.width and 0 <= row * side < self.height
