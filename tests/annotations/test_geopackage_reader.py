"""Polygons of GeoPackages: our own, those of other programs, and hostile files."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.feature_files import TABLE, UTM, polygons, write

from fitcli.annotations.geojson_reader import read_geojson
from fitcli.annotations.geopackage_file import well_known_binary
from fitcli.annotations.geopackage_reader import read_geopackage
from fitcli.annotations.polygon_collector import GeoJsonPolygons
from fitcli.annotations.polygon_file import read_polygon_file
from fitcli.errors import ImageError
from fitcli.images.georeference import GeoReference

SQUARE = np.array([[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], float)


def same(one: GeoJsonPolygons, other: GeoJsonPolygons) -> None:
    np.testing.assert_array_equal(one.polygons.ring_starts, other.polygons.ring_starts)
    np.testing.assert_array_equal(one.polygons.polygon_starts, other.polygons.polygon_starts)
    assert [one.names[number] for number in one.classes] == [other.names[number] for number in other.classes]


@pytest.mark.parametrize("geo", [None, UTM], ids=["pixels", "earth"])
def test_a_geopackage_has_what_geojson_has(tmp_path: Path, geo: GeoReference | None) -> None:
    package = read_geopackage(write(tmp_path / "p.gpkg", geo))
    expected = read_geojson(write(tmp_path / "p.geojson", geo))
    same(package, expected)
    assert len(package.polygons) == len(polygons())
    if geo is None:
        assert package.crs == "pixel"
        # With y upwards, rings turn the other way.
        assert set(map(tuple, package.polygons.points)) == set(map(tuple, expected.polygons.points))
    else:
        np.testing.assert_allclose(package.polygons.points, expected.polygons.points)
        assert package.crs["properties"]["name"] == "EPSG:32633"


def test_it_is_chosen_by_its_name(tmp_path: Path) -> None:
    assert set(read_polygon_file(write(tmp_path / "p.gpkg")).content.names) <= set(TABLE.names)


def geometry(body: bytes, flags: int = 1) -> bytes:
    return struct.pack("<2sBBi", b"GP", 0, flags, 32633) + body


def package(path: Path, rows: list[tuple[Any, ...]], columns: str = "geom, class", script: str = "") -> Path:
    """Write polygons in UTM with our writer, and replace the rows of its table."""
    write(path, UTM)
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE polygons")
        database.execute(f"CREATE TABLE polygons (fid INTEGER PRIMARY KEY, {columns})")
        marks = ", ".join("?" * len(columns.split(",")))
        database.executemany(f"INSERT INTO polygons ({columns}) VALUES ({marks})", rows)
        database.executescript(script)
    database.close()
    return path


def test_kinds_of_geometries(tmp_path: Path) -> None:
    hole = SQUARE[::-1] / 4 + 1
    plain = well_known_binary([SQUARE, hole])
    with_heights = struct.pack("<BIII", 1, 1003, 1, 5) + np.column_stack([SQUARE, np.ones(5)]).tobytes()
    big_endian = struct.pack(">BIII", 0, 3, 1, 5) + SQUARE.astype(">f8").tobytes()
    several = struct.pack("<BII", 1, 6, 2) + plain + well_known_binary([SQUARE + 9])
    point, line = struct.pack("<BI2d", 1, 1, 0, 0), struct.pack("<BII4d", 1, 2, 2, 0, 0, 1, 1)
    points = struct.pack("<BII", 1, 4, 2) + point + point
    mixed = struct.pack("<BII", 1, 7, 4) + point + line + points + well_known_binary([SQUARE])
    bounds = struct.pack("<4d", 0, 4, 0, 4)
    rows = [
        (geometry(plain), "a"), (geometry(with_heights), "b"), (geometry(big_endian, 0), "c"), (geometry(several), "d"),
        (geometry(mixed), "e"), (geometry(bounds + plain, 3), "f"), (None, "g"), (geometry(line), "h"),
    ]  # fmt: skip
    found = read_geopackage(package(tmp_path / "p.gpkg", rows))
    assert [found.names[number] for number in found.classes] == ["a", "b", "c", "d", "d", "e", "f"]
    assert np.diff(found.polygons.polygon_starts).tolist() == [2, 1, 1, 2, 1, 1, 2]
    np.testing.assert_array_equal(found.polygons.points[10:15], SQUARE)
    assert found.notes == ("1 feature without geometry left out", "4 points and lines left out")


def test_points_if_they_are_asked_for(tmp_path: Path) -> None:
    point, upwards = struct.pack("<BI2d", 1, 1, 5, 6), struct.pack(">BI3d", 0, 1001, 7, 8, 9)
    empty, line = struct.pack("<BI2d", 1, 1, np.nan, np.nan), struct.pack("<BII4d", 1, 2, 2, 0, 0, 1, 1)
    points = struct.pack("<BII", 1, 4, 3) + point + upwards + empty
    mixed = struct.pack("<BII", 1, 7, 4) + point + line + points + well_known_binary([SQUARE])
    path = package(tmp_path / "p.gpkg", [(geometry(each), "a") for each in (point, upwards, empty, points, mixed)])
    found = read_geopackage(path, points=True)
    assert found.polygons.boxes().tolist() == [
        [5, 6, 5, 6], [7, 8, 7, 8], [5, 6, 5, 6], [7, 8, 7, 8], [5, 6, 5, 6], [5, 6, 5, 6], [7, 8, 7, 8], [0, 0, 4, 4]
    ]  # fmt: skip
    assert found.notes == ("1 feature without geometry left out", "1 line left out")


@pytest.mark.parametrize("body", [struct.pack("<BId", 1, 1, 5), struct.pack("<BIII", 1, 4, 10**9, 0)])
def test_points_that_end_too_early(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(ImageError, match="feature 1 has a geometry that ends too early"):
        read_geopackage(package(tmp_path / "p.gpkg", [(geometry(body), "a")]), points=True)


def test_a_geometry_of_several_points_that_holds_something_else(tmp_path: Path) -> None:
    body = struct.pack("<BII", 1, 4, 1) + well_known_binary([SQUARE])
    with pytest.raises(ImageError, match="feature 1 has a point without two numbers"):
        read_geopackage(package(tmp_path / "p.gpkg", [(geometry(body), "a")]), points=True)


@pytest.mark.parametrize(
    ("columns", "value", "name"),
    [
        ("geom, classification", '{"name": "Tumor", "color": [1, 2, 3]}', "Tumor"),
        ("geom, Label", "wood", "wood"),
        ("geom, name", 7, "7"),
        ("geom, other", "wood", ""),
        ("geom, class", b"\xff\xfe", ""),
        ("geom, classification", "{not json", "{not json"),
    ],
)
def test_the_class_of_a_polygon(tmp_path: Path, columns: str, value: Any, name: str) -> None:
    found = read_geopackage(package(tmp_path / "p.gpkg", [(geometry(well_known_binary([SQUARE])), value)], columns))
    assert found.names == (name,)


@pytest.mark.walk(5)
@pytest.mark.parametrize(
    ("blob", "message"),
    [
        (b"", "none of a GeoPackage"),
        (b"XX" + bytes(40), "none of a GeoPackage"),
        ("text", "none of a GeoPackage"),
        (geometry(b"", 0b1111), "an unknown header"),
        (geometry(b""), "ends too early"),
        (geometry(struct.pack("<BII", 1, 3, 2**32 - 1)), "ends too early"),
        (geometry(struct.pack("<BIII", 1, 3, 1, 2**31)), "ends too early"),
        (geometry(struct.pack("<BII", 1, 10, 0)), "unknown kind 10"),
        (geometry(struct.pack("<BI", 1, 0x80000003)), "unknown kind"),
        (geometry(struct.pack("<BII", 1, 7, 1) * 20), "collections within collections"),
        (geometry(struct.pack("<BII", 1, 7, 1) + struct.pack("<BII", 1, 5, 1) * 5000), "has a wrong structure"),
        (geometry(struct.pack("<BII", 1, 6, 1) + struct.pack("<BI2d", 1, 1, 0, 0)), "coordinates that are no list"),
        (geometry(well_known_binary([SQUARE * np.nan])), "coordinates must be numbers"),
    ],
)
def test_geometries_that_cannot_be_read(tmp_path: Path, blob: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_geopackage(package(tmp_path / "p.gpkg", [(blob, "a")]))
    assert "\n" not in str(caught.value)


def execute(script: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with sqlite3.connect(path) as database:
            database.executescript(script)
        database.close()

    return run


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS geom, 'a' AS class FROM n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"no database"), "cannot be read as a GeoPackage"),
        (lambda path: path.write_bytes(b""), "cannot be read as a GeoPackage"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cannot be read as a GeoPackage"),
        (lambda path: path.unlink(), "cannot be read as a GeoPackage"),
        (execute("DROP TABLE gpkg_contents"), "no such table"),
        (execute("DELETE FROM gpkg_contents"), "must hold one table of features, not none"),
        (execute("DROP TABLE polygons"), "lists a table of features that it does not hold"),
        (execute(f"DROP TABLE polygons; CREATE VIEW polygons AS {ENDLESS}"), "has a view"),
        (execute("DELETE FROM gpkg_spatial_ref_sys"), "does not say what its coordinate system 32633 is"),
        (execute(f"DROP TABLE gpkg_contents; CREATE VIEW gpkg_contents AS {ENDLESS}"), "cannot be read as a Geo"),
        (
            execute("DROP TABLE polygons; CREATE TABLE polygons (x, geom AS (hex(zeroblob(x))), class);"
            "INSERT INTO polygons VALUES (9, 'a')"),
            "has no column of geometries",
        ),
        (lambda path: Path(f"{path}-wal").write_bytes(b"x"), "has changes that lie in p.gpkg-wal"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path: Path, spoil: Callable[[Path], Any], message: str) -> None:
    path = write(tmp_path / "p.gpkg", UTM)
    spoil(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ImageError, match=message) as caught:
        read_geopackage(path)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_several_tables(tmp_path: Path) -> None:
    more = (
        "CREATE TABLE more (fid INTEGER PRIMARY KEY, geom);"
        "INSERT INTO gpkg_contents SELECT 'more', data_type, 'more', '', last_change, 0, 0, 1, 1, srs_id "
        "FROM gpkg_contents;"
        "INSERT INTO gpkg_geometry_columns SELECT 'more', column_name, geometry_type_name, srs_id, z, m "
        "FROM gpkg_geometry_columns;"
    )
    path = package(tmp_path / "p.gpkg", [], script=more)
    with pytest.raises(ImageError, match=r"must hold one table of features, not 2 .*polygons.*more"):
        read_geopackage(path)


def test_names_are_quoted(tmp_path: Path) -> None:
    rename = (
        'ALTER TABLE polygons RENAME TO "a ""b""; -- c";'
        "UPDATE gpkg_contents SET table_name = 'a \"b\"; -- c';"
        "UPDATE gpkg_geometry_columns SET table_name = 'a \"b\"; -- c';"
    )
    path = package(tmp_path / "p.gpkg", [(geometry(well_known_binary([SQUARE])), "a")], script=rename)
    assert read_geopackage(path).names == ("a",)
