"""A GeoPackage of points or polygons: its table, its columns, and files that cannot be written."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.geopackage_file import POINT, GeoPackageFile, class_values


def test_points_with_columns(tmp_path: Path) -> None:
    package = GeoPackageFile(tmp_path / "a.gpkg", "places", POINT, {"score": "DOUBLE", "note": "TEXT"}, 32633)
    package.add([np.array([[1.5, -2.0]])], (0.5, "x"))
    package.add([np.array([[0.5, 4.0]])], (0.25, None))
    package.finish()
    package.release()
    with closing(sqlite3.connect(tmp_path / "a.gpkg")) as database:
        rows = database.execute("SELECT geom, score, note FROM places ORDER BY fid").fetchall()
        (kinds,) = database.execute("SELECT table_name, geometry_type_name, srs_id FROM gpkg_geometry_columns")
        (bounds,) = database.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents")
    assert kinds == ("places", "POINT", 32633)
    assert bounds == (0.5, -2, 1.5, 4)
    assert [row[1:] for row in rows] == [(0.5, "x"), (0.25, None)]
    assert struct.unpack_from("<2sBBi4d", rows[0][0]) == (b"GP", 0, 3, 32633, 1.5, 1.5, -2, -2)
    assert struct.unpack_from("<BI2d", rows[0][0], 40) == (1, 1, 1.5, -2)
    assert len(rows[0][0]) == 61


def test_a_file_that_stands_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a.gpkg").write_text("mine")
    with pytest.raises(FileExistsError):
        GeoPackageFile(tmp_path / "a.gpkg", "places", POINT, {"score": "DOUBLE"}, None)
    assert (tmp_path / "a.gpkg").read_text() == "mine"


def test_names_and_colours_of_classes() -> None:
    table = ClassTable(("a", "b"), (0, 1), ((1, 2, 255), None))
    assert class_values(table) == [("a", "#0102ff"), ("b", None)]
