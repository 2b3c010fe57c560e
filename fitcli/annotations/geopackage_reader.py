"""Reads the polygons of a GeoPackage (OGC 12-128r18): an SQLite file, as GIS programs write it.

What is read, and what is left out, is as in `geojson_reader`: the columns of the table are the properties of a feature.
Coordinates of an "undefined Cartesian" system are pixels with y upwards if no y is above 0, as `GeoPackageWriter`
writes them.

A file cannot make SQLite do more than read one table: views, generated columns, other files and long queries are
refused.
"""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from fitcli.annotations.packed_polygons import PackedPolygons
from fitcli.annotations.polygon_collector import CLASS_PROPERTIES, GeoJsonPolygons, PolygonCollector
from fitcli.errors import ImageError

SUFFIX = ".gpkg"

UNDEFINED_CARTESIAN = -1
"""Number of the coordinate system of a plane without a name."""

ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
"""Bytes of the bounds in the header of a geometry, by their kind."""

POINT, LINE, POLYGON, MULTIPOINT, MULTILINE, MULTIPOLYGON, COLLECTION = range(1, 8)
"""Numbers of geometries in well-known binary; 1000, 2000 and 3000 more with heights, measures and both."""

POINT_BYTES = 21
"""Bytes of a point in the plane, with its header."""

PARTS = {MULTIPOLYGON: "MultiPolygon", COLLECTION: "GeometryCollection"}

DEEPEST = 8
"""Most collections within each other."""

LONGEST_VALUE = 2**28
"""Most bytes of a value, such as a geometry."""

STEPS, MOST_CALLS = 10**6, 500
"""Steps of SQLite between two calls of the guard, and calls after which it gives up: reading a million polygons takes
about 20 million steps."""

ADVICE = "export it again from the GIS program"


def is_geopackage(path: Path) -> bool:
    """Return whether a file is named as a GeoPackage."""
    return path.name.lower().endswith(SUFFIX)


def read_geopackage(path: Path, points: bool = False) -> GeoJsonPolygons:
    """Read the only table of features of a file.

    Args:
        path: The file.
        points: Whether to return points, too, as polygons of one point; otherwise they are left out.

    Raises:
        ImageError: The file cannot be read, is no GeoPackage, has not one table of features, or is beyond a limit.
    """
    for journal in (Path(f"{path}-wal"), Path(f"{path}-journal")):
        if journal.is_file() and journal.stat().st_size:
            raise ImageError(path, f"has changes that lie in {journal.name}; close it in the program that edits it")
    try:
        with closing(_connect(path)) as database:
            return _read(path, database, points)
    except sqlite3.Error as error:
        raise ImageError(path, f"cannot be read as a GeoPackage ({error}); {ADVICE}") from None


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file that only tables of it can be read of."""
    # Immutable: SQLite makes no files beside it.
    database = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    calls = iter(range(MOST_CALLS))
    database.set_progress_handler(lambda: next(calls, None) is None, STEPS)
    database.set_authorizer(_authorize)
    database.text_factory = lambda data: data.decode("utf-8", "replace")
    return database


def _authorize(action: int, first: str | None, second: str | None, schema: str | None, source: str | None) -> int:
    """Allow reading of tables; nothing that a view or a trigger (`source`) does."""
    reads = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
    describes = action == sqlite3.SQLITE_PRAGMA and first == "table_xinfo"
    return sqlite3.SQLITE_OK if source is None and (reads or describes) else sqlite3.SQLITE_DENY


def _read(path: Path, database: sqlite3.Connection, keeps_points: bool) -> GeoJsonPolygons:
    table, column, system = _features(path, database)
    columns = database.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall()
    # Generated columns are computed when they are read.
    names = [str(name) for _, name, *_, hidden in columns if not hidden]
    if column not in names:
        raise ImageError(path, f"has no column of geometries in its table {table[:60]}; {ADVICE}")
    kept = [name for name in names if name.casefold() in CLASS_PROPERTIES and name != column]
    collector = PolygonCollector(path, keeps_points)
    query = f"SELECT {', '.join(map(_quoted, [column, *kept]))} FROM {_quoted(table)}"
    for blob, *values in database.execute(query):
        properties = dict(zip(kept, map(_property, values), strict=True))
        collector.add_made(partial(_feature, blob, properties, keeps_points))
    content = collector.result(_crs(path, database, system))
    points = content.polygons.points
    if system != UNDEFINED_CARTESIAN or not len(points) or points[:, 1].max() > 0:
        return content
    upwards = PackedPolygons(points * (1, -1), content.polygons.ring_starts, content.polygons.polygon_starts)
    return replace(content, polygons=upwards, crs="pixel")


def _features(path: Path, database: sqlite3.Connection) -> tuple[str, str, int]:
    """Return the table of features, its column of geometries, and the number of its coordinate system."""
    found = database.execute(
        "SELECT g.table_name, g.column_name, g.srs_id FROM gpkg_contents c JOIN gpkg_geometry_columns g "
        "ON c.table_name = g.table_name WHERE c.data_type = 'features' LIMIT 20"
    ).fetchall()
    if len(found) != 1:
        held = f"{len(found)} tables of features ({', '.join(str(row[0])[:60] for row in found)})" if found else "none"
        raise ImageError(path, f"must hold one table of features, not {held}; export one")
    table, column, system = found[0]
    kind = database.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    if not (isinstance(table, str) and isinstance(column, str) and isinstance(system, int) and kind is not None):
        raise ImageError(path, f"lists a table of features that it does not hold; {ADVICE}")
    if kind[0] != "table" or str(kind[1]).lstrip().upper().startswith("CREATE VIRTUAL"):
        raise ImageError(path, f"has a view where a table of features should be ({table[:60]}); {ADVICE}")
    return table, column, system


def _crs(path: Path, database: sqlite3.Connection, system: int) -> Any:
    """Return the coordinate system as a `crs` member of GeoJSON; None for an undefined one."""
    if system <= 0:
        return None
    row = database.execute(
        "SELECT organization, organization_coordsys_id FROM gpkg_spatial_ref_sys WHERE srs_id = ?", (system,)
    ).fetchone()
    if row is None:
        raise ImageError(path, f"does not say what its coordinate system {system} is; {ADVICE}")
    return {"type": "name", "properties": {"name": f"{str(row[0])[:40].upper()}:{row[1]}"}}


def _property(value: Any) -> Any:
    """Return a value; for the JSON text that converters make of QuPath's `classification`, its object."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _feature(blob: Any, properties: dict[str, Any], keeps_points: bool) -> dict[str, Any]:
    return {"type": "Feature", "geometry": _geometry(blob, keeps_points), "properties": properties}


def _geometry(blob: Any, keeps_points: bool) -> dict[str, Any] | None:
    """Return a geometry of a GeoPackage as that of GeoJSON; None for no geometry.

    Raises:
        ValueError: The bytes are no geometry.
    """
    if blob is None:
        return None
    if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP":
        raise ValueError("has a geometry that is none of a GeoPackage")
    envelope = ENVELOPE_BYTES.get(blob[3] >> 1 & 7)
    if envelope is None:
        raise ValueError("has a geometry with an unknown header")
    try:
        return _Binary(blob, 8 + envelope, keeps_points).geometry(DEEPEST)
    except struct.error:
        raise ValueError("has a geometry that ends too early") from None


class _Binary:
    """Reads well-known binary."""

    def __init__(self, blob: bytes, offset: int, keeps_points: bool) -> None:
        self._blob, self._offset, self._order = blob, offset, "<"
        self._keeps_points = keeps_points

    def geometry(self, depth: int) -> dict[str, Any] | None:
        """Return the geometry at the current place, with coordinates if it is kept; None for an empty point."""
        self._order = ">" if self._take("B") == 0 else "<"
        number = self._take("I")
        kind, dimensions = number % 1000, {0: 2, 1: 3, 2: 3, 3: 4}.get(number // 1000)
        if dimensions is None or not POINT <= kind <= COLLECTION:
            raise ValueError(f"has a geometry of the unknown kind {number}; give polygons without curves")
        if kind == POLYGON:
            return {"type": "Polygon", "coordinates": list(self._rings(dimensions))}
        if kind in PARTS:
            if not depth:
                raise ValueError("has collections within collections")
            parts = [self.geometry(depth - 1) for _ in range(self._count(5))]
            if kind == COLLECTION:
                return {"type": PARTS[kind], "geometries": parts}
            return {"type": PARTS[kind], "coordinates": [part and part.get("coordinates") for part in parts]}
        if self._keeps_points and kind == POINT:
            return self._point(dimensions)
        if self._keeps_points and kind == MULTIPOINT:
            points = [self.geometry(0) for _ in range(self._count(POINT_BYTES))]
            return {"type": "MultiPoint", "coordinates": [each.get("coordinates") for each in points if each]}
        if depth < DEEPEST:
            self._skip(kind, dimensions)
        return {"type": "LineString"}

    def _rings(self, dimensions: int) -> Iterator[list[list[float]]]:
        for _ in range(self._count(4)):
            count = self._count(8 * dimensions)
            values = np.frombuffer(self._blob, f"{self._order}f8", count * dimensions, self._offset)
            self._offset += values.nbytes
            yield values.reshape(count, dimensions)[:, :2].tolist()

    def _point(self, dimensions: int) -> dict[str, Any] | None:
        values = struct.unpack_from(f"{self._order}{dimensions}d", self._blob, self._offset)
        self._offset += 8 * dimensions
        # Well-known binary has no other empty point than one that is no number.
        return None if all(map(math.isnan, values)) else {"type": "Point", "coordinates": list(values[:2])}

    def _skip(self, kind: int, dimensions: int) -> None:
        """Pass over points and lines inside of a collection."""
        if kind == POINT:
            self._offset += 8 * dimensions
        elif kind == LINE:
            count = self._count(8 * dimensions)
            self._offset += 8 * dimensions * count
        else:
            for _ in range(self._count(5)):
                self.geometry(0)

    def _count(self, least_bytes: int) -> int:
        """Return a number of things of so many bytes at least. Bytes that are not there are not believed."""
        count = int(self._take("I"))
        if count * least_bytes > len(self._blob) - self._offset:
            raise ValueError("has a geometry that ends too early")
        return count

    def _take(self, kind: str) -> int:
        value: int = struct.unpack_from(self._order + kind, self._blob, self._offset)[0]
        self._offset += struct.calcsize(kind)
        return value
