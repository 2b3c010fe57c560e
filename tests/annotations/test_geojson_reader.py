"""GeoJSON of QuPath and of GIS, and a corpus of broken files: one line each, in bounded time and memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.polygons import collection, feature, geometry, square, write

from fitcli.annotations import geojson_reader, json_stream, polygon_collector
from fitcli.annotations.geojson_reader import read_geojson
from fitcli.annotations.json_stream import JsonStream
from fitcli.annotations.polygon_collector import GeoJsonPolygons
from fitcli.errors import ImageError

SQUARE = geometry(square(1, 2, 3))
HOLED = geometry([*square(0, 0, 9), *square(3, 3, 2)])
MULTI = {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"], HOLED["coordinates"]]}


def gis(shape: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": shape, "properties": properties}


def read(folder: Path, content: Any) -> GeoJsonPolygons:
    return read_geojson(write(folder / "a.geojson", content))


def gathered(*shapes: Any) -> dict[str, Any]:
    return {"type": "GeometryCollection", "geometries": list(shapes)}


WHOLES = {
    "collection": (collection(gis(SQUARE), gis(HOLED)), 2, 3),
    "array": ([gis(SQUARE), gis(MULTI)], 3, 4),
    "feature": (gis(HOLED, name="a"), 1, 2),
    "polygon": (SQUARE, 1, 1),
    "multipolygon": (MULTI, 2, 3),
    "geometry collection": ({"type": "GeometryCollection", "geometries": [SQUARE, MULTI]}, 3, 4),
    "nested": (gis(gathered(SQUARE, gathered(HOLED))), 2, 3),
    "with heights": (geometry([[(0, 0, 7), (4, 0, 7), (4, 4, 7)]]) | {}, 1, 1),
    "members first and last": ({"name": "x", "features": [gis(SQUARE)], "crs": None, "bbox": [0, 0, 1, 1]}, 1, 1),
    "nothing": (collection(), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLES)
def test_all_forms_of_geojson_are_read(tmp_path: Path, kind: str) -> None:
    content, polygons, rings = WHOLES[kind]
    result = read(tmp_path, content)
    assert (len(result.polygons), len(result.polygons.ring_starts) - 1) == (polygons, rings)
    assert len(result.classes) == polygons
    assert result.notes == ()


def test_points_are_those_of_the_file(tmp_path: Path) -> None:
    packed = read(tmp_path, [gis(SQUARE), gis(HOLED)]).polygons
    assert packed.points[:5].tolist() == SQUARE["coordinates"][0]
    assert packed.points[10:].tolist() == HOLED["coordinates"][1]
    assert packed.ring_starts.tolist() == [0, 5, 10, 15]
    assert packed.polygon_starts.tolist() == [0, 1, 3]


def test_classes_have_numbers_in_the_order_of_the_file(tmp_path: Path) -> None:
    names = ["b", "a", None, "b"]
    point = gis({"type": "Point", "coordinates": [1, 2]}, name="only a point")
    result = read(tmp_path, collection(point, *(feature(square(0, 0, 1), name) for name in names)))
    assert result.names == ("b", "a", "")
    assert result.classes.tolist() == [0, 1, 2, 0]


def ring(*points: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [list(points)]}


LEFT_OUT = {
    "null geometry": (gis(None), "1 feature without geometry left out"),
    "no geometry": ({"type": "Feature"}, "1 feature without geometry left out"),
    "point": (gis({"type": "Point", "coordinates": [1, 2]}), "1 point or line left out"),
    "line": (gis({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}), "1 point or line left out"),
    "empty polygon": (gis({"type": "Polygon", "coordinates": []}), "1 empty polygon left out"),
    "empty ring": (gis(ring()), "1 polygon of fewer than three different points left out"),
    "two points": (gis(ring([1, 2], [3, 4], [1, 2])), "1 polygon of fewer than three different points left out"),
    "one point often": (gis(ring(*[[1, 2]] * 50)), "1 polygon of fewer than three different points left out"),
    "hole of two points": (
        gis({"type": "Polygon", "coordinates": [*SQUARE["coordinates"], [[1, 1], [2, 2]]]}),
        "1 hole of fewer than three different points left out",
    ),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_has_no_area_is_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    item, note = LEFT_OUT[kind]
    result = read(tmp_path, collection(item, gis(SQUARE, name="a")))
    assert result.notes == (note,)
    assert len(result.polygons) == 1 + kind.startswith("hole")


def test_open_rings_are_closed(tmp_path: Path) -> None:
    result = read(tmp_path, ring([0, 0], [4, 0], [4, 4]))
    assert result.polygons.points.tolist() == [[0, 0], [4, 0], [4, 4], [0, 0]]


def test_of_equal_members_of_a_feature_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(gis(SQUARE, name="b")).replace('"name"', '"name": "a", "name"'))
    assert read_geojson(path).names == ("b",)


BROKEN: dict[str, tuple[Any, str]] = {
    "NaN": (ring([0, 0], [float("nan"), 1], [2, 2]), r"has a point at \(nan, 1\)"),
    "infinity": (ring([0, 0], [float("inf"), 1], [2, 2]), "has a point at"),
    "too large": (ring([0, 0], [1e13, 1], [2, 2]), r"has a point at \(1e\+13, 1\)"),
    "huge integer": (ring([0, 0], [10**400, 1], [2, 2]), "feature 1"),
    "text": (ring([0, 0], ["1", 1], [2, 2]), "feature 1 has coordinates that are no numbers"),
    "texts for points": (ring("ab", "cd", "ef"), "no numbers"),
    "objects for points": (ring({"x": 1, "y": 2}), "feature 1"),
    "booleans": (ring([0, 0], [True, 1], [2, 2]), "no numbers"),
    "null": (ring([0, 0], [None, 1], [2, 2]), "no numbers"),
    "one coordinate": (ring([0, 0], [1], [2, 2]), "fewer than two coordinates"),
    "points missing": ({"type": "Polygon", "coordinates": [1, 2, 3]}, "no list"),
    "depth of a multipolygon": ({"type": "MultiPolygon", "coordinates": SQUARE["coordinates"]}, "feature 1"),
    "no coordinates": ({"type": "Polygon"}, "no list"),
    "coordinates are a text": ({"type": "Polygon", "coordinates": "POLYGON"}, "no list"),
    "unknown geometry": (gis({"type": "Circle"}), "unknown geometry 'Circle'"),
    "a geometry that is a list": (gis([1]), "no object"),
    "a feature that is a number": ([gis(SQUARE), 7], "feature 2 is no object"),
    "nested collections": (collection(collection(gis(SQUARE))), "unknown geometry 'FeatureCollection'"),
    "Esri JSON": ({"geometryType": "esriGeometryPolygon"}, "no list of features"),
    "TopoJSON": ({"type": "Topology", "objects": {}}, "its type is 'Topology'"),
    "features of no list": ({"type": "FeatureCollection", "features": 7}, "no list of features"),
    "a number": (7, "neither an object nor an array"),
    "a long name": (gis(SQUARE, name="a" * 2000), "1,000 characters of a name"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_one_line(tmp_path: Path, kind: str) -> None:
    content, reason = BROKEN[kind]
    with pytest.raises(ImageError, match=reason) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'a.geojson'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_limits_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygon_collector, "MAX_FEATURES", 10)
    monkeypatch.setattr(polygon_collector, "MAX_RING", 20)
    monkeypatch.setattr(polygon_collector, "MAX_POINTS", 60)
    monkeypatch.setattr(polygon_collector, "MAX_CLASSES", 5)
    many = [[float(n), float(n * n)] for n in range(21)]
    assert len(read(tmp_path, [gis(SQUARE)] * 10).polygons) == 10
    assert len(read(tmp_path, ring(*many[:20])).polygons) == 1
    cases = {
        "more than 10 features": [gis(SQUARE)] * 11,
        "too many parts": {"type": "MultiPolygon", "coordinates": [SQUARE["coordinates"]] * 11},
        "a ring of 22 points": ring(*many, many[0]),
        "beyond 60 points": [ring(*many[:20])] * 4,
        "beyond 5 classes": [gis(SQUARE, name=str(n)) for n in range(6)],
    }
    for reason, content in cases.items():
        with pytest.raises(ImageError, match=reason):
            read(tmp_path, content)


def outcome(path: Path, points: bool) -> Any:
    """Return all that a file gives, or its error."""
    try:
        found = read_geojson(path, points)
    except ImageError as error:
        return str(error)
    packed = found.polygons
    arrays = (packed.points, packed.ring_starts, packed.polygon_starts, found.classes)
    return [array.tolist() for array in arrays], found.names, found.crs, found.notes


ITEMS = {
    **{f"whole {kind}": content for kind, (content, *_) in WHOLES.items() if isinstance(content, dict)},
    **{f"left out {kind}": item for kind, (item, _) in LEFT_OUT.items()},
    **{f"broken {kind}": item for kind, (item, _) in BROKEN.items() if isinstance(item, dict)},
    "open ring": ring([0, 0], [4, 0], [4, 4]),
    "late area": ring([0, 0], [0, 0], [0, 0], [4, 0], [4, 4]),
    "points": gis({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, name="p"),
    "points of a ring": gis({"type": "MultiPoint", "coordinates": SQUARE["coordinates"]}),
    "lines of a ring": gis({"type": "MultiLineString", "coordinates": SQUARE["coordinates"]}),
    "nucleus": {**gis(SQUARE, name="cell"), "nucleusGeometry": SQUARE},
    "a ring in the properties": gis(SQUARE, name="n", coordinates=SQUARE["coordinates"]),
    "another class": gis(SQUARE, name="other"),
}


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("kind", ITEMS)
def test_features_are_the_same_together_and_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, points: bool
) -> None:
    usual = gis(SQUARE, name="a")
    # Members in the order of the usual feature, so that all are taken together.
    items = [usual, usual, {"type": "Feature", **ITEMS[kind]}, usual, usual, gis(SQUARE), usual]
    path = write(tmp_path / "a.geojson", collection(*items))
    together = outcome(path, points)
    monkeypatch.setattr(JsonStream, "_batch_end", lambda stream: 0)
    assert together == outcome(path, points)


def test_limits_hold_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.geojson", collection(*[gis(SQUARE, name=str(n % 7)) for n in range(50)]))
    for limit, value in (("MAX_FEATURES", 30), ("MAX_RING", 3), ("MAX_POINTS", 90), ("MAX_CLASSES", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(polygon_collector, limit, value)
            together = outcome(path, True)
            patch.setattr(JsonStream, "_batch_end", lambda stream: 0)
            assert isinstance(together, str)
            assert together == outcome(path, True)


def test_parts_of_a_large_file_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geojson_reader, "FIRST_SECONDS", 0)
    monkeypatch.setattr(json_stream, "BATCH", 2000)
    shapes = [gis(geometry(square(n, 2 * n, 3)), name=str(n // 200)) for n in range(400)]
    path = write(tmp_path / "a.geojson", {"crs": "pixels"} | collection(*shapes))
    seen: list[GeoJsonPolygons] = []
    whole = read_geojson(path, report=seen.append)
    assert seen
    assert len(seen[0].polygons) < 400
    for part in seen:
        count = len(part.polygons)
        assert part.polygons.points.tolist() == whole.polygons.points[: 5 * count].tolist()
        assert part.classes.tolist() == whole.classes[:count].tolist()
        assert part.crs == "pixels"


@pytest.mark.slow
def test_a_ring_of_a_million_points_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    half = ",".join(f"[{x},{x % 7}]" for x in range(500_000))
    back = ",".join(f"[{x},{x % 5 + 50}]" for x in range(499_999, -1, -1))
    path.write_text(f'{{"type":"Polygon","coordinates":[[{half},{back}]]}}')
    assert len(read_geojson(path).polygons.points) == 1_000_001
    path.write_text(f'{{"type":"Polygon","coordinates":[[{half},{back},[0,60],[0,59]]]}}')
    with pytest.raises(ImageError, match="a ring of 1,000,002 points"):
        read_geojson(path)
