"""Where polygons lie: in the pixels of an image or on the Earth, or an error that names both places."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.polygons import packed, square

from fitcli.annotations.affine_map import AffineMap
from fitcli.annotations.polygon_index import PolygonIndex
from fitcli.annotations.polygon_placement import outside_count, place_polygons
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.georeference import GeoReference
from fitcli.images.rescaled import Rescaled

UTM = GeoReference(scale=(10, 10, 0), tiepoints=(0, 0, 0, 4e5, 5.7e6, 0), keys=(1, 1, 0, 1, 3072, 0, 1, 32633))
DEGREES = GeoReference(scale=(1e-4, 1e-4, 0), tiepoints=(0, 0, 0, 13.4, 52.5, 0), keys=(1, 1, 0, 1, 2048, 0, 1, 4326))
LOCAL = GeoReference(scale=(0.5, 0.5, 0), tiepoints=(0, 0, 0, 0, 50, 0))
UNNAMED = dataclasses.replace(UTM, keys=())

PIXELS = square(20, 30, 40)
ON_UTM = square(4e5 + 100, 5.7e6 - 500, 300)
ON_DEGREES = square(13.401, 52.495, 0.002)


def crs(name: str) -> dict[str, Any]:
    return {"type": "name", "properties": {"name": name}}


EPSG = crs("urn:ogc:def:crs:EPSG::32633")
CRS84 = crs("urn:ogc:def:crs:OGC:1.3:CRS84")


def image(geo: GeoReference | None, size: int = 100) -> ArrayReader:
    reader = ArrayReader(np.zeros((size, size, 3), np.uint8), path=Path("image.tif"))
    reader.info = dataclasses.replace(reader.info, geo=geo)
    return reader


def place(polygon: Any, crs: Any, image: Any) -> AffineMap:
    boxes = packed([polygon]).boxes()
    return place_polygons(Path("a.geojson"), crs, PolygonIndex(boxes), boxes, image)


PLACED = {
    "pixels": (PIXELS, None, None, (20, 30, 60, 70)),
    "pixels on a georeferenced image": (PIXELS, None, UTM, (20, 30, 60, 70)),
    "a crs that names pixels": (PIXELS, crs("QuPath:pixels"), UTM, (20, 30, 60, 70)),
    "world": (ON_UTM, EPSG, UTM, (10, 20, 40, 50)),
    "world, short name": (ON_UTM, crs("EPSG:32633"), UTM, (10, 20, 40, 50)),
    "world, link": (ON_UTM, crs("http://www.opengis.net/def/crs/EPSG/0/32633"), UTM, (10, 20, 40, 50)),
    "world, code": (ON_UTM, {"type": "EPSG", "properties": {"code": 32633}}, UTM, (10, 20, 40, 50)),
    "world, no crs": (ON_UTM, None, UTM, (10, 20, 40, 50)),
    "world, image of unnamed crs": (ON_UTM, EPSG, UNNAMED, (10, 20, 40, 50)),
    "world, unknown crs": (ON_UTM, crs("urn:local"), UTM, (10, 20, 40, 50)),
    "degrees": (ON_DEGREES, None, DEGREES, (10, 30, 30, 50)),
    "degrees, CRS84": (ON_DEGREES, CRS84, DEGREES, (10, 30, 30, 50)),
}


@pytest.mark.parametrize("kind", PLACED)
def test_polygons_have_their_place(kind: str) -> None:
    polygon, name, geo, box = PLACED[kind]
    assert place(polygon, name, image(geo)).box(*packed([polygon]).boxes()[0]) == pytest.approx(box, abs=1e-6)


REFUSED = {
    "another EPSG code": (
        ON_UTM,
        crs("EPSG:32632"),
        UTM,
        r"in EPSG:32632, but image.tif is in EPSG:32633; .*EPSG:32633",
    ),
    "longitude and latitude with crs": (ON_DEGREES, CRS84, UTM, "in EPSG:4326, but image.tif is in EPSG:32633"),
    "longitude and latitude": (ON_DEGREES, None, UTM, "seems to be in longitude and latitude .RFC 7946.*EPSG:32633"),
    "longitude and latitude elsewhere": (square(9, 40, 0.1), None, DEGREES, "has the longitude first"),
    "crs, image without place": (ON_UTM, EPSG, None, "EPSG::32633, but image.tif has no georeference"),
    "neither": (square(9e6, 9e6, 5), None, UTM, r"x 9000000 to 9000005 .* 0 to 100 .* in pixels, x 400000 to 401000"),
    "outside, pixels": (square(500, 500, 9), None, None, "no polygon on image.tif: .* x 500 to 509"),
    "outside, world": (square(5e5, 5.7e6, 9), EPSG, UTM, "no polygon on image.tif: .* on the Earth"),
    "both": (square(10, 10, 20), None, LOCAL, "may be pixels of image.tif as well as its world coordinates; add a crs"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_polygons_of_another_place_are_one_line(kind: str) -> None:
    polygon, name, geo, reason = REFUSED[kind]
    with pytest.raises(ImageError, match=reason) as caught:
        place(polygon, name, image(geo))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [7, "text", [1], {}, {"type": "name"}, {"properties": {"name": 7}}, {"properties": 1}])
def test_a_broken_crs_names_no_system(name: Any) -> None:
    assert place(ON_UTM, name, image(UTM)) == place(ON_UTM, EPSG, image(UTM))


@pytest.mark.parametrize(("polygon", "name", "geo"), [(PIXELS, None, None), (ON_UTM, EPSG, UTM), (ON_UTM, None, UTM)])
def test_polygons_follow_the_scale_of_an_open_image(polygon: Any, name: Any, geo: GeoReference | None) -> None:
    whole = place(polygon, name, image(geo)).box(*packed([polygon]).boxes()[0])
    smaller = place(polygon, name, Rescaled(image(geo), 0, 2.5)).box(*packed([polygon]).boxes()[0])
    assert smaller == pytest.approx([each / 2.5 for each in whole])


def test_what_lies_outside_is_counted() -> None:
    boxes = packed([square(0, 0, 5), square(100, 0, 5), square(-5, -5, 5), square(95, 95, 50)]).boxes()
    assert outside_count(boxes, AffineMap(), image(None)) == 2


def test_pixels_of_the_slide_of_features() -> None:
    features = image(None, size=10)
    features.info = dataclasses.replace(features.info, features=FeatureGrid(side=8, left=16, top=24))
    # The square 20 to 60 across and 30 to 70 down.
    where = place(PIXELS, None, features)
    assert where.box(20, 30, 60, 70) == ((20 - 16) / 8, (30 - 24) / 8, (60 - 16) / 8, (70 - 24) / 8)
    halved = place(PIXELS, None, Rescaled(features, 0, 2.0))
    assert halved.box(20, 30, 60, 70) == ((20 - 16) / 16, (30 - 24) / 16, (60 - 16) / 16, (70 - 24) / 16)
