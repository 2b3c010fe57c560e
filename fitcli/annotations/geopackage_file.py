"""A GeoPackage (OGC 12-128r18, version 1.3) that is being written: an SQLite file with one table of features."""

from __future__ import annotations

import errno
import math
import sqlite3
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fitcli.annotations.feature_writer import NamedClasses

CARTESIAN, GEOGRAPHIC, WGS84 = -1, 0, 4326
"""Numbers of the coordinate systems that every GeoPackage lists: undefined plane and undefined sphere coordinates, and
longitude and latitude."""

WRITTEN_AT_ONCE = 1 << 20
"""Bytes of geometries that are collected before they are written."""

APPLICATION, VERSION = 0x47504B47, 10300
"""`application_id` ("GPKG") and `user_version` of a GeoPackage 1.3."""

TABLES = f"""
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT
);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE, description TEXT DEFAULT '',
  last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id)
);
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL,
  z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id)
);
"""

WGS84_TEXT = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]'
)
"""Definition of longitude and latitude."""

LITTLE_ENDIAN_WITH_BOUNDS = 0b011
"""Flags of a geometry's header."""

PROBES = 2
"""Writes after a failed one: the first may succeed in part."""

POINT, POLYGON = 1, 3
"""Numbers of geometries in well-known binary."""

GEOMETRIES = {POINT: "POINT", POLYGON: "POLYGON"}


class GeoPackageFile:
    """Writes a table of points or polygons with further columns.

    The coordinate system is named by its EPSG code, from which GIS programs know it; its definition is not written.
    Pixels, and systems without a code, are "undefined Cartesian". There is no spatial index.

    Args:
        path: Path of the file, which must not exist.
        table: Name of the table.
        geometry: `POINT` or `POLYGON`.
        columns: Types of the further columns, by name.
        epsg: Code of the coordinate system; None if it has none.

    Raises:
        OSError: The file cannot be written; so do `add` and `finish`.
    """

    def __init__(self, path: Path, table: str, geometry: int, columns: Mapping[str, str], epsg: int | None) -> None:
        self._path, self._table, self._geometry = path, table, geometry
        self._system = CARTESIAN if epsg is None else epsg
        # Least x, -x, y and -y.
        self._bounds: tuple[float, ...] = (math.inf,) * 4
        self._waiting: list[tuple[Any, ...]] = []
        self._waiting_bytes = 0
        self._insert = (
            f"INSERT INTO {table} (geom, {', '.join(columns)}) VALUES ({', '.join('?' * (1 + len(columns)))})"
        )
        self._database: sqlite3.Connection | None = None
        described = "".join(f", {name} {kind}" for name, kind in columns.items())
        systems = {
            CARTESIAN: ("Undefined Cartesian", CARTESIAN, "NONE", CARTESIAN, "undefined"),
            GEOGRAPHIC: ("Undefined geographic", GEOGRAPHIC, "NONE", GEOGRAPHIC, "undefined"),
            WGS84: ("WGS 84", WGS84, "EPSG", WGS84, WGS84_TEXT),
        }
        systems.setdefault(self._system, (f"EPSG:{epsg}", self._system, "EPSG", self._system, "undefined"))
        with _as_os_errors(path):
            # No file can be opened that does not exist: the file system says why it cannot be made.
            path.open("xb").close()
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # What is written is published or removed as a whole, so nothing needs to be rolled back.
            self._database.executescript(
                f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {TABLES} CREATE TABLE {table} (fid INTEGER "
                f"PRIMARY KEY AUTOINCREMENT NOT NULL, geom {GEOMETRIES[geometry]}{described}); BEGIN;"
            )
            self._database.executemany(
                "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, NULL)", list(systems.values())
            )

    def add(self, rings: Sequence[NDArray[Any]], values: Sequence[object]) -> None:
        """Add a feature with the values of its columns: a polygon of closed rings [p 2], or a point [1 2]."""
        x, y = rings[0].T.tolist()
        bounds = (min(x), max(x), min(y), max(y))
        signed = (bounds[0], -bounds[1], bounds[2], -bounds[3])
        self._bounds = tuple(min(pair) for pair in zip(self._bounds, signed, strict=True))
        header = struct.pack("<2sBBi4d", b"GP", 0, LITTLE_ENDIAN_WITH_BOUNDS, self._system, *bounds)
        body = struct.pack("<BI2d", 1, POINT, x[0], y[0]) if self._geometry == POINT else well_known_binary(rings)
        self._waiting.append((header + body, *values))
        self._waiting_bytes += len(header) + len(body)
        if self._waiting_bytes >= WRITTEN_AT_ONCE:
            self._flush()

    def finish(self) -> None:
        """Complete the file and close it."""
        self._flush()
        assert self._database is not None
        left, right, low, high = self._bounds
        bounds = (left, low, -right, -high) if all(map(math.isfinite, self._bounds)) else (None,) * 4
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        with _as_os_errors(self._path):
            self._database.execute(
                "INSERT INTO gpkg_contents VALUES (?, 'features', ?, '', ?, ?, ?, ?, ?, ?)",
                (self._table, self._table, now, *bounds, self._system),
            )
            self._database.execute(
                "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)",
                (self._table, GEOMETRIES[self._geometry], self._system),
            )
            self._database.execute("COMMIT")
            self.release()

    def release(self) -> None:
        """Close the file as it is. Idempotent."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _flush(self) -> None:
        assert self._database is not None, "the file is closed"
        rows, self._waiting, self._waiting_bytes = self._waiting, [], 0
        with _as_os_errors(self._path):
            self._database.executemany(self._insert, rows)


def class_values(table: NamedClasses) -> list[tuple[str, str | None]]:
    """Return the name and the colour (`#rrggbb`) of each class, by number."""
    names = [name.encode("utf-8", "replace").decode() for name in table.names]
    colors = [None if color is None else "#{:02x}{:02x}{:02x}".format(*color) for color in table.colors]
    return list(zip(names, colors, strict=True))


def well_known_binary(rings: Sequence[NDArray[Any]]) -> bytes:
    """Return a polygon as little-endian well-known binary. `rings` are closed: the outer one, then the holes."""
    parts = [struct.pack("<BII", 1, POLYGON, len(rings))]
    for ring in rings:
        parts += [struct.pack("<I", len(ring)), ring.astype("<f8").tobytes()]
    return b"".join(parts)


@contextmanager
def _as_os_errors(path: Path) -> Iterator[None]:
    """Turn an error of SQLite, which does not say why it cannot write, into the error of the system."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, str(error)) from error
        _append(path)
        raise OSError(errno.EIO, str(error)) from error


def _append(path: Path) -> None:
    """Append zeros to a file that is given up: the system says what prevents it."""
    with path.open("ab", buffering=0) as file:
        for _ in range(PROBES):
            file.write(bytes(1 << 16))
