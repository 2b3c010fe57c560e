"""Maps from coordinates of a file to pixels of an image: turns, scales and shifts in the plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.images.georeference import GeoReference

Floats = NDArray[np.float64]

CLOSE = 0.01
"""Greatest distance in pixels between a tiepoint and the map that is fitted to several tiepoints."""

PROJECTED_KEY, GEOGRAPHIC_KEY = 3072, 2048
"""ProjectedCRSGeoKey and GeodeticCRSGeoKey."""


@dataclass(frozen=True, slots=True)
class AffineMap:
    """x' = a x + b y + c, y' = d x + e y + f."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 0.0
    e: float = 1.0
    f: float = 0.0

    @property
    def mirrors(self) -> bool:
        """Whether the map turns over the direction of rings."""
        return self.a * self.e - self.b * self.d < 0

    def apply(self, points: Floats) -> Floats:
        """Map points [p 2]."""
        if self == IDENTITY:
            return points
        x, y = points[:, 0], points[:, 1]
        return np.stack([self.c + x * self.a + y * self.b, self.f + x * self.d + y * self.e], axis=1)

    def inverse(self) -> AffineMap:
        """Return the map backwards.

        Raises:
            ValueError: The map puts all points on a line.
        """
        area = self.a * self.e - self.b * self.d
        if not area or not np.isfinite(area):
            raise ValueError("a map onto a line has no inverse")
        a, b, d, e = self.e / area, -self.b / area, -self.d / area, self.a / area
        return AffineMap(a, b, -(a * self.c + b * self.f), d, e, -(d * self.c + e * self.f))

    def box(self, left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        """Return the box (left, top, right, bottom) around the image of a box."""
        corners = self.apply(np.array([(left, top), (right, top), (left, bottom), (right, bottom)]))
        (low_x, low_y), (high_x, high_y) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        return low_x, low_y, high_x, high_y


IDENTITY = AffineMap()


def pixels_to_world(geo: GeoReference) -> AffineMap:
    """Return the map from pixels, (0, 0) at the upper left corner of the image, to world coordinates.

    Raises:
        ValueError: Tiepoints do not lie on such a map.
    """
    affine = geo.affine()
    if affine is None:
        a, b, c, d, e, f = _fitted(geo.tiepoints)
        # Raster coordinates at pixel centres count half a pixel less.
        half = 0.5 if geo.at_centres else 0.0
        affine = (a, b, c - half * (a + b), d, e, f - half * (d + e))
    return AffineMap(*affine)


def is_geographic(geo: GeoReference) -> bool:
    """Return whether coordinates are degrees."""
    keys = geo.keys[4::4]
    return GEOGRAPHIC_KEY in keys and PROJECTED_KEY not in keys


def _fitted(tiepoints: tuple[float, ...]) -> tuple[float, float, float, float, float, float]:
    points = np.array(tiepoints).reshape(-1, 6)
    raster = np.column_stack([points[:, :2], np.ones(len(points))])
    world = points[:, 3:5]
    # World coordinates are large; only their differences are fitted.
    middle = world.mean(axis=0)
    solution, _, rank, _ = np.linalg.lstsq(raster, world - middle, rcond=None)
    pixel = float(np.abs(solution[:2]).max()) if rank == 3 else 0.0
    if rank < 3 or float(np.abs(raster @ solution + middle - world).max()) > CLOSE * pixel:
        raise ValueError("its tiepoints are no regular grid")
    (a, d), (b, e), (c, f) = solution.tolist()
    return a, b, c + float(middle[0]), d, e, f + float(middle[1])
