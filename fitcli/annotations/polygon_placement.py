"""Finds out where on an image the coordinates of a file of polygons lie: in its pixels, or on the Earth.

The rules, in this order:

1. A `crs` member that names pixels, or no `crs` and an image without a georeference: pixels of level 0, the origin in
   the upper left corner, y downwards, as QuPath writes them. Those of an image of features are pixels of its slide.
2. Any other `crs`: world coordinates. The image needs a georeference. If both name an EPSG code, it must be the same:
   polygons are not reprojected.
3. No `crs`, and an image with a georeference: what the polygons meet, the pixels of the image or its area on the
   Earth. If they meet both, they are world coordinates on an image in degrees (RFC 7946), and an error on others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.annotations.affine_map import AffineMap, Floats, is_geographic, pixels_to_world
from fitcli.annotations.polygon_index import PolygonIndex
from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.images.georeference import GeoReference
from fitcli.images.rescaled import Rescaled

LONGITUDE_LATITUDE = 4326
"""EPSG code of longitude and latitude, which is also the CRS84 of GeoJSON."""

ADVICE = "reproject the polygons (ogr2ogr -t_srs EPSG:CODE)"

ORDER_ADVICE = "GeoJSON has the longitude first: check the order, and the image"
"""What to do about degrees that are not those of an image in degrees."""

Box = tuple[float, float, float, float]


def place_polygons(path: Path, crs: Any, index: PolygonIndex, boxes: Floats, image: ImageReader) -> AffineMap:
    """Return the map from coordinates of a file to pixels of an open image, which may be a level or rescaled.

    Args:
        path: The file of polygons, for messages.
        crs: Its `crs` member; None without one.
        index: Index of the polygons, in the coordinates of the file.
        boxes: Bounding boxes of the polygons.
        image: The image.

    Raises:
        ImageError: The polygons are of another coordinate system, or all of them lie outside.
    """
    pixels, world = from_stored_pixels(image), _from_world(image)
    geo = image.info.geo
    if crs is not None and not _names_pixels(crs):
        if world is None or geo is None:
            raise ImageError(
                path,
                f"is in the coordinate system {_crs_text(crs)}, but {image.path} has no georeference that can be used; "
                "give polygons in pixels, without a crs",
            )
        _compare_codes(path, crs, geo, image.path)
        chosen = world
    elif crs is not None or world is None or geo is None:
        chosen = pixels
    else:
        chosen = _by_place(path, index, boxes, image, pixels, world, geo)
    if not _meets(index, chosen, image):
        raise _outside(path, index, image, pixels, world if chosen is not pixels else None)
    return chosen


def outside_count(boxes: Floats, where: AffineMap, image: ImageReader) -> int:
    """Return the number of bounding boxes that do not meet the image."""
    left, top, right, bottom = where.inverse().box(0, 0, image.info.width, image.info.height)
    meets = (boxes[:, 0] < right) & (boxes[:, 2] > left) & (boxes[:, 1] < bottom) & (boxes[:, 3] > top)
    return len(boxes) - int(np.count_nonzero(meets))


def _by_place(
    path: Path,
    index: PolygonIndex,
    boxes: Floats,
    image: ImageReader,
    pixels: AffineMap,
    world: AffineMap,
    geo: GeoReference,
) -> AffineMap:
    """Choose by what the polygons meet."""
    geographic = is_geographic(geo)
    on_pixels, on_earth = _meets(index, pixels, image), _meets(index, world, image)
    if on_earth and (geographic or not on_pixels):
        return world
    left, top, right, bottom = index.bounds()
    in_degrees = min(left + 180, 180 - right, top + 90, 90 - bottom) >= 0
    # No annotation is smaller than a pixel, but most are smaller than a degree.
    if in_degrees and float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1))) < 1:
        raise ImageError(
            path,
            f"seems to be in longitude and latitude (RFC 7946), with {_text(index.bounds())}, but {image.path} lies at "
            f"{_text(_extent(world, image))}; {ORDER_ADVICE if geographic else _advice(geo)}",
        )
    if on_pixels and on_earth:
        raise ImageError(
            path,
            f"has no crs, and {_text(index.bounds())} may be pixels of {image.path} as well as its world coordinates; "
            "add a crs member to the file",
        )
    if on_pixels:
        return pixels
    raise _outside(path, index, image, pixels, world)


def _outside(
    path: Path, index: PolygonIndex, image: ImageReader, pixels: AffineMap, world: AffineMap | None
) -> ImageError:
    earth = f", {_text(_extent(world, image))} on the Earth" if world else ""
    return ImageError(
        path,
        f"has no polygon on {image.path}: its polygons lie at {_text(index.bounds())}, the image at "
        f"{_text(_extent(pixels, image))} in pixels{earth}; check the coordinate system",
    )


def _meets(index: PolygonIndex, where: AffineMap, image: ImageReader) -> bool:
    return len(index.query(*_extent(where, image))) > 0


def _extent(where: AffineMap, image: ImageReader) -> Box:
    """Return the box of the image in coordinates of the file."""
    return where.inverse().box(0, 0, image.info.width, image.info.height)


def from_stored_pixels(image: ImageReader) -> AffineMap:
    """Return the map from pixels of level 0 of the file, or of the slide of features, to pixels of the open image."""
    stored = image
    while isinstance(stored, Rescaled):
        stored = stored.image
    across, down = image.info.width / stored.info.width, image.info.height / stored.info.height
    if (grid := stored.info.features) is None:
        return AffineMap(a=across, e=down)
    across, down = across / grid.side, down / grid.side
    return AffineMap(a=across, c=-grid.left * across, e=down, f=-grid.top * down)


def _from_world(image: ImageReader) -> AffineMap | None:
    """Return the map from world coordinates; None if the image has no place on the Earth."""
    try:
        return pixels_to_world(image.info.geo).inverse() if image.info.geo else None
    except ValueError:
        return None


def _compare_codes(path: Path, crs: Any, geo: GeoReference, image: Path) -> None:
    own, other = geo.coordinate_system(), _code_of(crs)
    if own is not None and other is not None and own != other:
        raise ImageError(path, f"is in EPSG:{other}, but {image} is in EPSG:{own}; {_advice(geo)}")


def _advice(geo: GeoReference) -> str:
    """Return how to bring polygons into the coordinate system of an image."""
    code = geo.coordinate_system()
    return ADVICE if code is None else ADVICE.replace("CODE", str(code))


def _names_pixels(crs: Any) -> bool:
    return "pixel" in _crs_text(crs).casefold()


def _code_of(crs: Any) -> int | None:
    """Return the EPSG code that a `crs` member names."""
    text = _crs_text(crs)
    if "CRS84" in text.upper():
        return LONGITUDE_LATITUDE
    found = re.search(r"EPSG\D*(?:[\d.]*[:/])?(\d{1,9})\s*$", text, re.IGNORECASE | re.ASCII)
    return int(found.group(1)) if found else None


def _crs_text(crs: Any) -> str:
    """Return the name that a `crs` member gives, or its JSON."""
    properties = crs.get("properties") if isinstance(crs, Mapping) else None
    if isinstance(crs, Mapping) and isinstance(properties, Mapping):
        if isinstance(properties.get("name"), str):
            return str(properties["name"])[:200]
        if type(properties.get("code")) is int:
            return f"{crs.get('type')}:{properties['code']}"[:200]
    return str(crs)[:200]


def _text(box: Box) -> str:
    left, top, right, bottom = box
    return f"x {left:.7g} to {right:.7g} and y {top:.7g} to {bottom:.7g}"
