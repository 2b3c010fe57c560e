"""Polygons, boxes and points of every format lie in pixels of the image, and hostile files are refused in one line."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from support.polygons import collection, feature, packed, square, write

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.georeference import GeoReference
from fitcli.images.rescaled import Rescaled
from fitcli.view.feature_file import ViewedFeatures, holds_features, read_features

POINT = {"type": "Feature", "properties": {"class": "cell"}, "geometry": {"type": "Point", "coordinates": [7, 9]}}
CONTENT = collection(feature(square(20, 30, 40), "tumor"), POINT)


def image(side: int = 200) -> ArrayReader:
    return ArrayReader(np.zeros((side, side, 3), np.uint8), path=Path("image.tif"))


def test_polygons_and_points_of_geojson(tmp_path: Path) -> None:
    found = read_features(write(tmp_path / "a.geojson", CONTENT), image())
    assert found.names == ("tumor", "cell")
    assert found.shapes.boxes().tolist() == [[20, 30, 60, 70], [7, 9, 7, 9]]
    packed = tmp_path / "a.geojson.gz"
    packed.write_bytes(gzip.compress(json.dumps(CONTENT).encode()))
    assert read_features(packed, image()).shapes.boxes().tolist() == found.shapes.boxes().tolist()


def test_shapes_follow_the_level_that_is_shown(tmp_path: Path) -> None:
    halved = Rescaled(ArrayReader([np.zeros((200, 200, 3), np.uint8), np.zeros((100, 100, 3), np.uint8)]), 1)
    found = read_features(write(tmp_path / "a.geojson", CONTENT), halved)
    assert found.shapes.boxes()[0].tolist() == [10, 15, 30, 35]


def test_coordinates_on_the_earth(tmp_path: Path) -> None:
    reader = image()
    geo = GeoReference(scale=(10, 10, 0), tiepoints=(0, 0, 0, 4e5, 5.7e6, 0), keys=(1, 1, 0, 1, 3072, 0, 1, 32633))
    reader.info = dataclasses.replace(reader.info, geo=geo)
    found = read_features(
        write(tmp_path / "a.geojson", collection(feature(square(4e5 + 100, 5.7e6 - 500, 300)))), reader
    )
    assert found.names == ("object",)
    assert found.shapes.boxes().tolist() == [[10, 20, 40, 50]]


def test_boxes_of_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("path,xmin,ymin,xmax,ymax,label\nimage.tif,1,2,30,40,cat\nimage.tif,5,5,9,9,dog\n")
    found = read_features(path, image())
    assert found.shapes.boxes().tolist() == [[1, 2, 30, 40], [5, 5, 9, 9]]
    assert [found.names[n] for n in found.classes] == ["cat", "dog"]


HOSTILE = {
    "no JSON": '{"type": "FeatureCollection", "features": [{',
    "deep": "[" * 100_000,
    "no numbers": json.dumps(collection({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [["a"]]}})),
    "infinite": '{"type":"FeatureCollection","features":[{"type":"Feature","properties":null,'
    '"geometry":{"type":"Polygon","coordinates":[[[0,0],[1e999,0],[1,1]]]}}]}',
    "elsewhere": json.dumps(collection(feature(square(5000, 5000, 10), "x"))),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(HOSTILE[name])
    with pytest.raises(ImageError) as caught:
        read_features(path, image())
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_known_classes_keep_their_colour_and_no_other_gets_it() -> None:
    found = ViewedFeatures(packed([square(0, 0, 1)]), np.zeros(1, np.int32), ("immune", "tumor", "stroma"))
    colors = found.colors({"tumor": (230, 159, 0), "gland": (86, 180, 233)})
    assert colors[1] == (230, 159, 0)
    assert len(set(colors)) == 3


def test_names_of_files_of_shapes() -> None:
    for name in ("a.GeoJSON", "a.geojson.gz", "a.gpkg", "a.csv", "a.xml"):
        assert holds_features(Path(name))
    assert not holds_features(Path("a.tif"))
