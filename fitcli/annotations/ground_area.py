"""The area on the ground of the pixels of a georeferenced image, in square metres."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import AffineMap, is_geographic, pixels_to_world
from fitcli.images.georeference import DOUBLES_TAG, USER_DEFINED, GeoReference

LINEAR_UNIT, LINEAR_UNIT_SIZE, ANGULAR_UNIT = 3076, 3077, 2054
"""ProjLinearUnitsGeoKey, ProjLinearUnitSizeGeoKey and GeogAngularUnitsGeoKey."""

METRES = {9001: 1.0, 9002: 0.3048, 9003: 1200 / 3937, 9036: 1000.0}
"""Length of a linear unit by its EPSG code: metre, foot, US survey foot, kilometre."""

DEGREE = 9102
"""EPSG code of the degree."""

WEB_MERCATOR = 3857
"""EPSG code of the projection of web maps, which shows things the larger the farther they lie from the equator."""

IN_METRES = (WEB_MERCATOR, 3035, *range(32601, 32661), *range(32701, 32761), *range(25828, 25839))
"""Coordinate systems whose unit is the metre, for files that do not name it: UTM and Europe's equal-area system."""

RADIUS, FLATTENING = 6378137.0, 1 / 298.257223563
"""Equatorial radius in metres and flattening of the ellipsoid WGS 84."""


def pixel_areas(geo: GeoReference, height: int) -> NDArray[np.float64] | None:
    """Return the area of a pixel of each row [height], in square metres.

    In a projected system it is that in the plane of the map, but for Web Mercator, whose scale depends on the latitude.
    In degrees, it is that on the ellipsoid.

    Args:
        geo: Georeference of the image, in its pixels.
        height: Rows of the image.

    Returns:
        None if the unit is unknown, the pixels are not placed by an affine map, or degrees are turned.
    """
    try:
        where = pixels_to_world(geo)
    except ValueError:
        return None
    codes = _codes(geo)
    if is_geographic(geo):
        return None if codes.get(ANGULAR_UNIT, DEGREE) != DEGREE or where.b or where.d else _of_degrees(where, height)
    metre = metres_per_unit(geo)
    if metre is None:
        return None
    plane = np.full(height, abs(where.a * where.e - where.b * where.d) * metre**2)
    if geo.coordinate_system() != WEB_MERCATOR:
        return plane
    if where.d:
        return None
    latitudes = np.arctan(np.sinh((where.f + where.e * (np.arange(height) + 0.5)) / RADIUS))
    scaled: NDArray[Any] = plane * np.cos(latitudes) ** 2
    return scaled


def _codes(geo: GeoReference) -> dict[int, int]:
    """Return the values of the keys that are whole numbers."""
    return {key: value for key, tag, _, value in zip(*[iter(geo.keys[4:])] * 4, strict=True) if tag == 0}


def metres_per_unit(geo: GeoReference) -> float | None:
    """Return the length of the unit of a projected system, in metres; None if unknown."""
    code = _codes(geo).get(LINEAR_UNIT)
    if code == USER_DEFINED:
        for key, tag, _, place in zip(*[iter(geo.keys[4:])] * 4, strict=True):
            if key == LINEAR_UNIT_SIZE and tag == DOUBLES_TAG and geo.doubles[place : place + 1] > (0,):
                return float(geo.doubles[place])
        return None
    if code is None:
        return 1.0 if geo.coordinate_system() in IN_METRES else None
    return METRES.get(code)


def _of_degrees(where: AffineMap, height: int) -> NDArray[np.float64]:
    """Return the areas of pixels between meridians and circles of latitude (Snyder 1987, equation 3-12)."""
    edges = np.radians(np.clip(where.f + where.e * np.arange(height + 1), -90, 90))
    squared = FLATTENING * (2 - FLATTENING)
    eccentricity = math.sqrt(squared)
    sine = np.sin(edges)
    authalic = sine / (1 - squared * sine**2) + np.arctanh(eccentricity * sine) / eccentricity
    areas: NDArray[Any] = RADIUS**2 * (1 - squared) / 2 * math.radians(abs(where.a)) * np.abs(np.diff(authalic))
    return areas
