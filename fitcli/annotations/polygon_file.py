"""Keeps files of polygons that were read, so that each epoch and each thread does not read them again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.file_cache import FileCache
from fitcli.annotations.geojson_reader import read_geojson
from fitcli.annotations.geopackage_reader import is_geopackage, read_geopackage
from fitcli.annotations.polygon_collector import GeoJsonPolygons
from fitcli.annotations.polygon_index import PolygonIndex

CACHE_BYTES = 256 << 20
"""Bytes of files that are kept. A single file may be larger."""


@dataclass(frozen=True)
class PolygonFile:
    """A file that was read, with the boxes of its polygons and an index of them."""

    content: GeoJsonPolygons

    @cached_property
    def boxes(self) -> Floats:
        return self.content.polygons.boxes()

    @cached_property
    def index(self) -> PolygonIndex:
        return PolygonIndex(self.boxes)

    @property
    def size_bytes(self) -> int:
        """Memory of points and boxes, which outweigh the rest."""
        return self.content.polygons.points.nbytes + 100 * len(self.content.polygons)


def read_features(path: Path, points: bool = False) -> GeoJsonPolygons:
    """Read a file, whose format its name says.

    Args:
        path: The file.
        points: Whether to return points, too, as polygons of one point; otherwise they are left out.

    Raises:
        ImageError: The file cannot be read.
    """
    return read_geopackage(path, points) if is_geopackage(path) else read_geojson(path, points)


_files: FileCache[PolygonFile] = FileCache(
    lambda path: PolygonFile(read_features(path)),
    lambda file: file.size_bytes,
    CACHE_BYTES,
)


def read_polygon_file(path: Path) -> PolygonFile:
    """Return a file of polygons, read anew if it has changed since.

    Raises:
        ImageError: The file cannot be read.
    """
    return _files.get(path)
