"""Reads the polygons of a GeoJSON file (RFC 7946, and as QuPath and GIS write it) and their classes.

- Rings that are not closed are closed, as QuPath does. A ring of fewer than three different points has no area: it is
  left out, and with an outline its polygon. Notes count what is left out.
- The parts of a MultiPolygon are polygons of their own. Heights are passed over.
- Lines, and features without geometry, are left out and counted; so are points, unless they are asked for.
- The class of a polygon is QuPath's `classification` (`name`, or `names` joined by ": "), else the first of the
  properties `classification`, `class`, `label` and `name` that is a text or an integer; names are composed (NFC).
  QuPath's `name` is that of an object, and no class.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fitcli.annotations.json_stream import TAKEN, JsonStream
from fitcli.annotations.polygon_collector import NO_AREA, GeoJsonPolygons, PolygonCollector

FIRST_SECONDS, LOOK_EVERY = 0.5, 1000
"""Time after which a first part of a large file is reported, and features between two looks at the clock."""

Report = Callable[[GeoJsonPolygons], None]


def read_geojson(path: Path, points: bool = False, report: Report | None = None) -> GeoJsonPolygons:
    """Read a file as a stream.

    Args:
        path: The file.
        points: Whether to return points, too, as polygons of one point; otherwise they are left out.
        report: Called while a large file is read, with the polygons so far. Its `crs` may follow later.

    Raises:
        ImageError: The file cannot be read, is not GeoJSON, or is beyond a limit.
    """
    with JsonStream(path) as stream:
        collector = PolygonCollector(path, points)
        first = stream.peek()
        crs = None
        if first == "[":
            _read_items(stream, collector, PartialResults(collector, None, report))
        elif first == "{":
            crs = _read_object(stream, collector, report)
        else:
            raise stream.error("is not GeoJSON: it has neither an object nor an array")
        stream.end()
    return collector.result(crs)


class PartialResults:
    """Reports what has been read, at first after `FIRST_SECONDS`, then each time that the time has doubled."""

    def __init__(self, collector: PolygonCollector, crs: Any, report: Report | None) -> None:
        self._collector, self._crs, self._report = collector, crs, report
        self._began, self._wait = time.monotonic(), FIRST_SECONDS

    def look(self) -> None:
        """Report if it is time."""
        if self._report is None or time.monotonic() - self._began < self._wait:
            return
        self._report(self._collector.result(self._crs, more=True))
        # Reports take at most about as long as reading.
        self._wait = 2 * (time.monotonic() - self._began)


def _read_items(stream: JsonStream, collector: PolygonCollector, partial: PartialResults) -> None:
    for number, item in enumerate(stream.elements(collector.add_text)):
        if item is not TAKEN:
            collector.add(item)
        if item is TAKEN or number % LOOK_EVERY == LOOK_EVERY - 1:
            partial.look()


def _read_object(stream: JsonStream, collector: PolygonCollector, report: Report | None) -> Any:
    """Read the outermost object, return its `crs`. Only `features` and `geometries` are read item by item."""
    whole: dict[str, Any] = {}
    has_items = False
    for name in stream.members():
        if name in ("features", "geometries") and stream.peek() == "[":
            has_items = True
            _read_items(stream, collector, PartialResults(collector, whole.get("crs"), report))
        else:
            whole[name] = stream.value()
    kind = whole.get("type")
    if kind in ("Feature", "Polygon", "MultiPolygon") or kind in NO_AREA:
        collector.add(whole)
    elif not has_items:
        raise stream.error(f"is not GeoJSON: its type is {kind!r}, and it has no list of features")
    return whole.get("crs")
