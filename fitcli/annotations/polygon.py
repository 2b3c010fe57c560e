"""A polygon of one class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon of one class, in pixels of level 0: the point (0, 0) is the upper left corner of the image.

    Attributes:
        number: Class number.
        rings: The outer ring, then the holes: arrays [points, 2] of (x, y), the first point repeated at the end.
        area: Area in square pixels, without the holes.
    """

    number: int
    rings: tuple[NDArray[Any], ...]
    area: float
