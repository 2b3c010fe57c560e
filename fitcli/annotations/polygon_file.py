"""Keeps files of polygons that were read, so that each epoch and each thread does not read them again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.geojson_reader import GeoJsonPolygons, read_geojson
from fitcli.annotations.geopackage_reader import is_geopackage, read_geopackage
from fitcli.annotations.polygon_index import PolygonIndex
from fitcli.errors import ImageError

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


Key = tuple[str, int, int]

_files: OrderedDict[Key, PolygonFile] = OrderedDict()
_lock = threading.Lock()
_reading = threading.Lock()


def _start_over() -> None:
    """Give a forked process locks that no thread of its parent holds."""
    global _lock, _reading
    _lock, _reading = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)


def read_polygon_file(path: Path) -> PolygonFile:
    """Return a file of polygons, read anew if it has changed since.

    Raises:
        ImageError: The file cannot be read.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise ImageError(path, f"cannot be read ({error.strerror or error})") from None
    key = os.path.abspath(path), state.st_mtime_ns, state.st_size
    kept = _get(key)
    if kept is not None:
        return kept
    # Reading holds the interpreter: threads would read one after the other anyway.
    with _reading:
        kept = _get(key)
        if kept is None:
            kept = PolygonFile(read_geopackage(path) if is_geopackage(path) else read_geojson(path))
            _keep(key, kept)
    return kept


def _get(key: Key) -> PolygonFile | None:
    with _lock:
        kept = _files.get(key)
        if kept is not None:
            _files.move_to_end(key)
        return kept


def _keep(key: Key, file: PolygonFile) -> None:
    with _lock:
        _files[key] = file
        total = sum(each.size_bytes for each in _files.values())
        while total > CACHE_BYTES and len(_files) > 1:
            total -= _files.popitem(last=False)[1].size_bytes
