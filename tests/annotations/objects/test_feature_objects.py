"""Objects of GeoJSON and GeoPackage: boxes around polygons, points, regions and ignored areas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.polygons import collection, feature, square, write

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.features import open_features
from fitcli.annotations.objects.feature_objects import read_feature_objects
from fitcli.annotations.rings import Polygon
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo


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
    found = read_feature_objects(path)
    assert found.outlines.boxes().tolist() == [[1, 2, 6, 7], [0, 0, 4, 7]]
    assert found.counts() == {"cell": 2}
    assert found.ignored.boxes().tolist() == [[9, 9, 12, 12]]
    assert found.regions is not None
    assert found.regions.boxes().tolist() == [[0, 0, 50, 50]]
    assert found.units == "by crs"


def test_points(tmp_path: Path) -> None:
    many = {"type": "Feature", "geometry": {"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, "properties": {}}
    found = read_feature_objects(write(tmp_path / "a.geojson", collection(point(5.5, 6), many)))
    assert found.outlines.boxes().tolist() == [[5.5, 6, 5.5, 6], [1, 2, 1, 2], [3, 4, 3, 4]]
    assert found.counts() == {"object": 3}
    assert found.regions is None


def test_objects_without_a_class_beside_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(point(1, 1), point(2, 2, "cell")))
    with pytest.raises(ImageError, match="1 object without a class beside classified ones"):
        read_feature_objects(path)


def test_broken_points(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(point(1, "x")))  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="feature 1 has a point without two numbers"):
        read_feature_objects(path)


def test_an_empty_file_has_no_objects(tmp_path: Path) -> None:
    assert read_feature_objects(write(tmp_path / "a.geojson", collection())).counts() == {}


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
def test_regions_and_boxes_of_both_formats(tmp_path: Path, suffix: str) -> None:
    table = ClassTable(("Region*", "cell"), (0, 1))
    outlines = [np.array(square(*each)[0], float) for each in ((0, 0, 50), (1, 2, 5))]
    size = ImageInfo(height=60, width=60, channels=1, dtype=np.dtype(np.uint8))
    with open_features(tmp_path / f"a{suffix}", table, size) as writer:
        writer.write([Polygon(number, (outline,), 1.0) for number, outline in enumerate(outlines)])
    found = read_feature_objects(tmp_path / f"a{suffix}")
    assert found.outlines.boxes().tolist() == [[1, 2, 6, 7]]
    assert found.counts() == {"cell": 1}
    assert found.regions is not None
    assert found.regions.boxes().tolist() == [[0, 0, 50, 50]]
