"""Objects of GeoJSON: boxes around polygons, points, regions and ignored areas."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.polygons import collection, feature, square, write

from fitcli.annotations.objects.geojson_objects import read_geojson_objects
from fitcli.errors import ImageError


def point(x: float, y: float, name: str | None = None) -> dict[str, object]:
    properties = {} if name is None else {"classification": {"name": name}}
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]}, "properties": properties}


def test_kinds_of_features(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.geojson",
        collection(
            feature(square(1, 2, 5), "cell"), feature(square(0, 0, 50), "Region*"), feature(square(9, 9, 3), "Ignore*"),
            feature([[(0, 0), (4, 0), (2, 7)]], "cell"),
        ),
    )  # fmt: skip
    found = read_geojson_objects(path)
    assert found.outlines.boxes().tolist() == [[1, 2, 6, 7], [0, 0, 4, 7]]
    assert found.counts() == {"cell": 2}
    assert found.ignored.boxes().tolist() == [[9, 9, 12, 12]]
    assert found.regions is not None
    assert found.regions.boxes().tolist() == [[0, 0, 50, 50]]
    assert found.units == "by crs"


def test_points(tmp_path: Path) -> None:
    many = {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, "properties": {}}
    found = read_geojson_objects(write(tmp_path / "a.geojson", collection(point(5.5, 6), many)))
    assert found.outlines.boxes().tolist() == [[5.5, 6, 5.5, 6], [1, 2, 1, 2], [3, 4, 3, 4]]
    assert found.counts() == {"object": 3}
    assert found.regions is None


def test_objects_without_a_class_beside_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(point(1, 1), point(2, 2, "cell")))
    with pytest.raises(ImageError, match="1 objects without a class beside classified ones"):
        read_geojson_objects(path)


def test_broken_points(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(point(1, "x")))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="feature 1 has a point without two numbers"):
        read_geojson_objects(path)


def test_an_empty_file_has_no_objects(tmp_path: Path) -> None:
    assert read_geojson_objects(write(tmp_path / "a.geojson", collection())).counts() == {}
