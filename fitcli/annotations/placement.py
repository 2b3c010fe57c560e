"""Turns pixel coordinates into those of a file of polygons: pixels or places on the Earth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import pixels_to_world
from fitcli.images.georeference import GeoReference

DIGITS = 3
"""Coordinates are rounded to this many decimal digits of a pixel."""


@dataclass(frozen=True, slots=True)
class Placement:
    """An affine map from pixels of level 0, (0, 0) in the upper left corner of the image, to the coordinates of a file.

    Attributes:
        matrix: (a, b, c, d, e, f): x = a * column + b * row + c, y = d * column + e * row + f.
        epsg: Code of the coordinate system; None if it has none.
        is_world: Whether the coordinates are places on the Earth.
    """

    matrix: tuple[float, float, float, float, float, float]
    epsg: int | None = None
    is_world: bool = False

    def ring(self, points: NDArray[Any]) -> NDArray[Any]:
        """Return the coordinates [points, 2] of a closed ring of pixels [points, 2] (x, y).

        Rings that turn from x to y keep doing so: outer rings are counter-clockwise in the coordinates of the file.
        """
        a, b, c, d, e, f = self.matrix
        if self.matrix == PIXELS.matrix:
            return points if points.dtype.kind == "i" else _rounded(points, DIGITS)
        placed = points @ np.array([[a, d], [b, e]], np.float64) + (c, f)
        if a * e - b * d < 0:
            placed = placed[::-1]
        return _rounded(placed, max(DIGITS - math.floor(math.log10(min(math.hypot(a, d), math.hypot(b, e)))), 0))


PIXELS = Placement((1, 0, 0, 0, 1, 0))
"""Pixels, with y downwards."""

PIXELS_UPWARDS = Placement((1, 0, 0, 0, -1, 0))
"""Pixels with y upwards, so that y is negative: where GIS programs show an image without a georeference."""


def world_placement(geo: GeoReference) -> Placement | None:
    """Return where a georeference places pixels; None if that is not affine, or not invertible."""
    try:
        where = pixels_to_world(geo)
        where.inverse()
    except ValueError:
        return None
    matrix = (where.a, where.b, where.c, where.d, where.e, where.f)
    return Placement(matrix, geo.coordinate_system(), is_world=True)


def _rounded(points: NDArray[Any], digits: int) -> NDArray[Any]:
    rounded: NDArray[Any] = np.round(points, digits)
    # -0.0 becomes 0.0.
    return rounded + 0.0
