"""GeoJSON files hold the polygons, as QuPath and GIS programs read them."""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.class_maps import drawn
from support.feature_files import CELLS, KEYS, TABLE, UTM, info, polygons, write

from fitcli.annotations.features import open_features
from fitcli.annotations.rings import Polygon
from fitcli.images.georeference import GeoReference


def read(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def shapes(document: Any) -> list[Polygon]:
    return [
        Polygon(
            TABLE.names.index(feature["properties"]["classification"]["name"]),
            tuple(np.array(ring) for ring in feature["geometry"]["coordinates"]),
            feature["properties"]["area_px"],
        )
        for feature in document["features"]
    ]


@pytest.mark.parametrize("name", ["p.geojson", "p.geojson.gz", "P.GeoJSON"])
def test_the_map_can_be_drawn_again(tmp_path: Path, name: str) -> None:
    found = shapes(read(write(tmp_path / name)))
    assert np.array_equal(drawn(found, CELLS.shape), np.where(CELLS == 3, 255, CELLS))
    assert [polygon.area for polygon in found] == [polygon.area for polygon in polygons()]


def test_features_are_annotations_of_qupath(tmp_path: Path) -> None:
    document = read(write(tmp_path / "p.geojson"))
    assert set(document) == {"type", "features"}
    ids = [feature["id"] for feature in document["features"]]
    assert len(set(ids)) == len(ids)
    for feature in document["features"]:
        assert str(uuid.UUID(feature["id"])) == feature["id"]
        assert feature["type"] == "Feature"
        assert feature["geometry"]["type"] == "Polygon"
        properties = feature["properties"]
        assert (properties["objectType"], properties["isLocked"]) == ("annotation", True)
        number = TABLE.names.index(properties["class"])
        color = TABLE.colors[number]
        expected = {"name": TABLE.names[number]} | ({"color": list(color)} if color else {})
        assert properties["classification"] == expected
        assert all(
            isinstance(value, int) for ring in feature["geometry"]["coordinates"] for point in ring for value in point
        )


def test_one_feature_per_line(tmp_path: Path) -> None:
    lines = write(tmp_path / "p.geojson").read_text("ascii").splitlines()
    assert len(lines) == len(polygons()) + 2
    assert all(json.loads(line.removesuffix(","))["type"] == "Feature" for line in lines[1:-1])


@pytest.mark.parametrize("suffix", [".geojson", ".geojson.gz"])
def test_a_second_file_is_the_same(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write(tmp_path / f"a{suffix}").read_bytes()
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert write(tmp_path / f"b{suffix}").read_bytes() == one


def test_world_coordinates_and_their_system(tmp_path: Path) -> None:
    document = read(write(tmp_path / "p.geojson", UTM))
    assert document["crs"] == {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    for feature, polygon in zip(document["features"], polygons(), strict=True):
        for ring, pixels in zip(feature["geometry"]["coordinates"], polygon.rings, strict=True):
            # North is upwards: the order of the points turns, so that outer rings are counter-clockwise (RFC 7946).
            assert (np.array(ring)[::-1] == pixels * (2, -2) + (500000, 4600000)).all()


def test_pixels_of_an_image_with_a_georeference(tmp_path: Path) -> None:
    pixels = write(tmp_path / "a.geojson", UTM, pixels=True).read_bytes()
    assert pixels == write(tmp_path / "b.geojson").read_bytes()


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ((1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326), "urn:ogc:def:crs:OGC:1.3:CRS84"),
        ((1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4258), "urn:ogc:def:crs:EPSG::4258"),
        ((*KEYS[:-1], 32767), None),
        ((), None),
    ],
)
def test_names_of_systems(tmp_path: Path, keys: tuple[int, ...], name: str | None) -> None:
    geo = GeoReference(scale=(1e-5, 1e-5, 0.0), tiepoints=(0.0, 0.0, 0.0, 9.5, 47.0, 0.0), keys=keys)
    document = read(write(tmp_path / "p.geojson", geo))
    assert (document["crs"]["properties"]["name"] if "crs" in document else None) == name


def test_no_polygons(tmp_path: Path) -> None:
    with open_features(tmp_path / "p.geojson", TABLE, info()):
        pass
    assert read(tmp_path / "p.geojson") == {"type": "FeatureCollection", "features": []}
