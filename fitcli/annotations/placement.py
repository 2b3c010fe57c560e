"""Turns pixel coordinates into those of a file of polygons: pixels or places on the Earth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.georeference import GeoReference

MODEL_TYPE_KEY, GEOGRAPHIC_KEY, PROJECTED_KEY = 1024, 2048, 3072
"""GTModelTypeGeoKey, and the keys that hold an EPSG code (OGC 19-008r4)."""

PROJECTED, GEOGRAPHIC = 1, 2
"""Values of GTModelTypeGeoKey."""

CODES = range(1024, 32767)
"""Values of the two keys that are EPSG codes: 32767 is a system that the user defines."""

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
    matrix = _raster_matrix(geo)
    if matrix is None:
        return None
    a, b, c, d, e, f = matrix
    if geo.at_centres:
        c, f = c - (a + b) / 2, f - (d + e) / 2
    if not all(map(math.isfinite, (c, f))) or a * e - b * d == 0:
        return None
    return Placement((a, b, c, d, e, f), epsg_code(geo), is_world=True)


def epsg_code(geo: GeoReference) -> int | None:
    """Return the EPSG code of the coordinate system of a georeference; None if it has none."""
    # Keys whose values do not stand in the directory have another tag than 0.
    values = {geo.keys[first]: geo.keys[first + 3] for first in range(4, len(geo.keys), 4) if not geo.keys[first + 1]}
    key = {PROJECTED: PROJECTED_KEY, GEOGRAPHIC: GEOGRAPHIC_KEY}.get(values.get(MODEL_TYPE_KEY, 0))
    code = values.get(key, 0) if key else 0
    return code if code in CODES else None


def _raster_matrix(geo: GeoReference) -> tuple[float, float, float, float, float, float] | None:
    if geo.scale and len(geo.tiepoints) == 6:
        column, row, _, x, y, _ = geo.tiepoints
        across, down, _ = geo.scale
        return across, 0, x - column * across, 0, -down, y + row * down
    if geo.transformation:
        a, b, _, c, d, e, _, f = geo.transformation[:8]
        return a, b, c, d, e, f
    return None


def _rounded(points: NDArray[Any], digits: int) -> NDArray[Any]:
    rounded: NDArray[Any] = np.round(points, digits)
    # -0.0 becomes 0.0.
    return rounded + 0.0
