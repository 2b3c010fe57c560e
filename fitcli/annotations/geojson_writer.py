"""Writes polygons as GeoJSON (RFC 7946), one feature per line, as QuPath and GIS programs read it.

The same polygons give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from fitcli.annotations.feature_writer import FeatureWriter
from fitcli.annotations.rings import Polygon

NAMESPACE = uuid.UUID("a9b4f0de-3f3c-5ad1-9a4e-8c5c1d1f7b52")
"""Namespace of the ids of features."""

WGS84 = 4326
"""EPSG code of longitude and latitude; in GeoJSON, they come in this order, which is another system: CRS84."""

COMPRESSION = 6
"""Effort of gzip, 1 to 9."""


class GeoJsonWriter(FeatureWriter):
    """Writes a FeatureCollection; gzipped if the name ends with .gz.

    Pixels are as QuPath has them: of level 0, from the upper left corner, y downwards. For world coordinates, the file
    has the member `crs` of GeoJSON 2008, which GIS programs read; without an EPSG code, there is none. Outer rings are
    counter-clockwise in the numbers of the file, holes clockwise.
    """

    _packed: IO[bytes] | None = None
    _text: IO[bytes] | gzip.GzipFile | None = None
    _count = 0

    def _begin(self, path: Path) -> None:
        self._packed = self._text = path.open("xb")
        if self.path.name.lower().endswith(".gz"):
            # Without name and time, equal contents have equal bytes.
            self._text = gzip.GzipFile("", "wb", COMPRESSION, self._packed, mtime=0)
        self._classes = [
            {"name": name} | ({} if color is None else {"color": list(color)})
            for name, color in zip(self.table.names, self.table.colors, strict=True)
        ]
        crs = "" if self.placement.epsg is None else f'"crs":{json_text(crs_member(self.placement.epsg))},'
        self._put(f'{{"type":"FeatureCollection",{crs}"features":[')

    def _add(self, polygon: Polygon, rings: list[NDArray[Any]]) -> None:
        kind = self._classes[polygon.number]
        geometry = json_text({"type": "Polygon", "coordinates": [ring.tolist() for ring in rings]})
        properties = {
            "objectType": "annotation",
            "classification": kind,
            "class": kind["name"],
            "area_px": polygon.area,
            "isLocked": True,
        }
        identity = uuid.uuid5(NAMESPACE, f"{kind['name']!a} {geometry}")
        self._put(
            f'{"," if self._count else ""}\n{{"type":"Feature","id":"{identity}","geometry":{geometry},'
            f'"properties":{json_text(properties)}}}'
        )
        self._count += 1

    def _end(self) -> None:
        self._put("\n]}\n")
        self._release()

    def _release(self) -> None:
        text, packed, self._text, self._packed = self._text, self._packed, None, None
        try:
            if text is not None:
                text.close()
        finally:
            if packed is not None:
                packed.close()

    def _put(self, text: str) -> None:
        assert self._text is not None, "the file is closed"
        self._text.write(text.encode("ascii"))


def json_text(value: Any) -> str:
    """Return a value as JSON without blanks."""
    """Return a value as JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def crs_member(epsg: int) -> dict[str, Any]:
    """Return the `crs` member that names a coordinate system."""
    """Return the `crs` member that names a coordinate system."""
    name = "urn:ogc:def:crs:OGC:1.3:CRS84" if epsg == WGS84 else f"urn:ogc:def:crs:EPSG::{epsg}"
    return {"type": "name", "properties": {"name": name}}
