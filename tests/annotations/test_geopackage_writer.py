"""GeoPackage files have the tables of the standard, and geometries that are read back."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.feature_files import CELLS, TABLE, UTM, info, polygons, write

from fitcli.annotations.features import open_features
from fitcli.annotations.geopackage_file import well_known_binary
from fitcli.images.georeference import GeoReference


def query(path: Path, text: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(text).fetchall()


def rings_of(blob: bytes) -> tuple[int, tuple[float, ...], list[np.ndarray]]:
    """Parse a geometry: the number of its system, its bounds and its rings."""
    magic, version, flags, system, *bounds = struct.unpack_from("<2sBBi4d", blob)
    assert (magic, version, flags) == (b"GP", 0, 3)
    order, kind, count = struct.unpack_from("<BII", blob, 40)
    assert (order, kind) == (1, 3)
    offset, rings = 49, []
    for _ in range(count):
        (points,) = struct.unpack_from("<I", blob, offset)
        rings.append(np.frombuffer(blob, "<f8", 2 * points, offset + 4).reshape(-1, 2))
        offset += 4 + 16 * points
    assert offset == len(blob)
    return system, tuple(bounds), rings


def test_it_is_a_geopackage(tmp_path: Path) -> None:
    path = write(tmp_path / "p.gpkg", UTM)
    assert path.read_bytes()[:16] == b"SQLite format 3\0"
    assert path.read_bytes()[68:72] == b"GPKG"
    assert query(path, "PRAGMA user_version") == [(10300,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]
    assert query(path, "PRAGMA foreign_key_check") == []
    assert query(path, "SELECT * FROM gpkg_geometry_columns") == [("polygons", "geom", "POLYGON", 32633, 0, 0)]
    systems = "SELECT srs_id, organization, organization_coordsys_id FROM gpkg_spatial_ref_sys ORDER BY srs_id"
    assert query(path, systems) == [
        (-1, "NONE", -1),
        (0, "NONE", 0),
        (4326, "EPSG", 4326),
        (32633, "EPSG", 32633),
    ]
    (contents,) = query(path, "SELECT table_name, data_type, srs_id, min_x, min_y, max_x, max_y FROM gpkg_contents")
    assert contents[:3] == ("polygons", "features", 32633)
    points = np.concatenate([polygon.rings[0] for polygon in polygons()]) * (2, -2) + (500000, 4600000)
    assert contents[3:] == (*points.min(axis=0), *points.max(axis=0))
    assert "T" in query(path, "SELECT last_change FROM gpkg_contents")[0][0]


def test_features_are_the_polygons(tmp_path: Path) -> None:
    rows = query(write(tmp_path / "p.gpkg", UTM), "SELECT geom, class, color, area_px FROM polygons ORDER BY fid")
    for (blob, name, color, area), polygon in zip(rows, polygons(), strict=True):
        system, bounds, rings = rings_of(blob)
        assert system == 32633
        assert bounds == tuple(np.stack([rings[0].min(axis=0), rings[0].max(axis=0)], axis=1).reshape(-1))
        for ring, pixels in zip(rings, polygon.rings, strict=True):
            assert (ring[::-1] == pixels * (2, -2) + (500000, 4600000)).all()
        assert name == TABLE.names[polygon.number]
        assert color == {0: "#010203", 1: "#ff0010", 2: None}[polygon.number]
        assert area == polygon.area


@pytest.mark.parametrize(("geo", "options"), [(None, {}), (UTM, {"pixels": True})])
def test_pixels_lie_below_the_x_axis(tmp_path: Path, geo: GeoReference | None, options: dict[str, Any]) -> None:
    path = write(tmp_path / "p.gpkg", geo, **options)
    bounds = "SELECT srs_id, min_x, min_y, max_x, max_y FROM gpkg_contents"
    assert query(path, bounds) == [(-1, 0, -CELLS.shape[0], CELLS.shape[1], 0)]
    for (blob,), polygon in zip(query(path, "SELECT geom FROM polygons"), polygons(), strict=True):
        assert (rings_of(blob)[2][0][::-1] == polygon.rings[0] * (1, -1)).all()


def test_shapely_reads_the_geometries() -> None:
    shapely = pytest.importorskip("shapely", reason="shapely is not installed (extra dev)")
    for polygon in polygons():
        shape = shapely.from_wkb(well_known_binary(list(polygon.rings)))
        assert shape.is_valid
        assert shape.area == polygon.area
        assert len(shape.interiors) == len(polygon.rings) - 1


def test_no_polygons(tmp_path: Path) -> None:
    with open_features(tmp_path / "p.gpkg", TABLE, info()):
        pass
    assert query(tmp_path / "p.gpkg", "SELECT count(*) FROM polygons") == [(0,)]
    assert query(tmp_path / "p.gpkg", "SELECT min_x, max_y FROM gpkg_contents") == [(None, None)]
