"""Files of found objects: the formats, their coordinates, and that they come back."""

from __future__ import annotations

import gzip
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.pictures import save

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.annotations.objects.object_file import read_objects
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.annotations.objects.object_writers import WRITTEN_SUFFIXES, write_objects
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference
from fitcli.images.open import open_image

TABLE = ClassTable(("cell, big", "é"), (0, 1), ((1, 2, 3), None))
# Pixels of two metres, north up, with the upper left corner at (1000, 5000) in EPSG:32632.
GEO = GeoReference(
    keys=(1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32632), scale=(2.0, 2.0, 0.0), tiepoints=(0, 0, 0, 1000, 5000, 0)
)
BOXES = np.array([(1.25, 2.0, 3.5, 4.0), (10.0, 20.0, 30.0, 25.0)])


def found(points: bool = False) -> FoundObjects:
    boxes = BOXES[:, [0, 1, 0, 1]] if points else BOXES
    return FoundObjects(boxes, np.array([0.75, 0.5], np.float32), np.array([1, 0], np.int32), points)


def info(folder: Path) -> ImageInfo:
    with open_image(save(folder / "i.png", np.zeros((40, 60, 3), np.uint8))) as image:
        return image.info


def text_of(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_what_is_written_is_read(tmp_path: Path, suffix: str, points: bool) -> None:
    path, again = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for each in (path, again):
        write_objects(each, found(points), TABLE, info(tmp_path), tmp_path / "i.png")
    if suffix != ".gpkg":  # which has the time in it
        assert path.read_bytes() == again.read_bytes()
    if suffix.endswith(".csv.gz") or (points and "json" in suffix and "geo" not in suffix):
        return  # packed CSV and points in COCO are for others to read
    image = {".csv": str(tmp_path / "i.png"), ".json": "i.png", ".json.gz": "i.png"}.get(suffix, "")
    objects = read_objects(ObjectSource(path, image))
    assert objects.outlines.boxes().tolist() == found(points).boxes.tolist()
    assert [objects.names[number] for number in objects.classes] == ["é", "cell, big"]


def rows_of(path: Path, text: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(text).fetchall()


@pytest.mark.parametrize(("points", "geometry"), [(False, "POLYGON"), (True, "POINT")])
@pytest.mark.parametrize("in_pixels", [False, True])
def test_a_geopackage_has_scores_and_world_coordinates(
    tmp_path: Path, points: bool, geometry: str, in_pixels: bool
) -> None:
    path, on_earth = tmp_path / "a.gpkg", replace(info(tmp_path), geo=GEO)
    write_objects(path, found(points), TABLE, on_earth, tmp_path / "i.tif", in_pixels)
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]
    system = -1 if in_pixels else 32632
    columns = "table_name, geometry_type_name, srs_id"
    assert rows_of(path, f"SELECT {columns} FROM gpkg_geometry_columns") == [("objects", geometry, system)]
    assert rows_of(path, "SELECT class, color, score FROM objects") == [
        ("é", None, 0.75),
        ("cell, big", "#010203", 0.5),
    ]
    (bounds,) = rows_of(path, "SELECT min_x, min_y, max_x, max_y FROM gpkg_contents")
    right, bottom = (10, 20) if points else (30, 25)
    expected = (1.25, -bottom, right, -2) if in_pixels else (1002.5, 5000 - 2 * bottom, 1000 + 2 * right, 4996)
    assert bounds == expected


def test_features_are_detections_as_qupath_has_them(tmp_path: Path) -> None:
    write_objects(tmp_path / "a.geojson", found(), TABLE, info(tmp_path), tmp_path / "i.png")
    features = json.loads(text_of(tmp_path / "a.geojson"))["features"]
    properties = features[1]["properties"]
    assert properties["objectType"] == "detection"
    assert properties["classification"] == {"name": "cell, big", "color": [1, 2, 3]}
    assert properties["measurements"] == {"score": 0.5}
    assert features[0]["geometry"]["coordinates"] == [[[1.25, 2.0], [3.5, 2.0], [3.5, 4.0], [1.25, 4.0], [1.25, 2.0]]]
    assert len({feature["id"] for feature in features}) == 2


@pytest.mark.parametrize("in_pixels", [False, True])
def test_world_coordinates(tmp_path: Path, in_pixels: bool) -> None:
    write_objects(
        tmp_path / "a.geojson", found(), TABLE, replace(info(tmp_path), geo=GEO), tmp_path / "i.tif", in_pixels
    )
    document: Any = json.loads(text_of(tmp_path / "a.geojson"))
    ring = np.array(document["features"][0]["geometry"]["coordinates"][0])
    if in_pixels:
        assert "crs" not in document
        assert ring.min(axis=0).tolist() == [1.25, 2]
    else:
        assert document["crs"]["properties"]["name"].endswith("32632")
        assert ring.min(axis=0).tolist() == [1002.5, 4992]
        assert ring.max(axis=0).tolist() == [1007, 4996]


def test_coco_has_scores(tmp_path: Path) -> None:
    write_objects(tmp_path / "a.json", found(), TABLE, info(tmp_path), tmp_path / "i.png")
    document = json.loads(text_of(tmp_path / "a.json"))
    assert document["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 2, "bbox": [1.25, 2.0, 2.25, 2.0], "area": 4.5, "iscrowd": 0,
        "score": 0.75,
    }  # fmt: skip


def test_files_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="objects are written as"):
        write_objects(tmp_path / "a.doc", found(), TABLE, info(tmp_path), tmp_path / "i.png")
    with pytest.raises(ImageError, match="does not exist"):
        write_objects(tmp_path / "none/a.csv", found(), TABLE, info(tmp_path), tmp_path / "i.png")
    with pytest.raises(ImageError, match="does not exist"):
        write_objects(tmp_path / "none/a.gpkg", found(), TABLE, info(tmp_path), tmp_path / "i.png")
    assert not list(tmp_path.glob("*a.*"))
