"""Writes polygons as GeoJSON (RFC 7946), one feature per line, as QuPath and GIS programs read it.

The same polygons give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from fitcli.annotations.feature_writer import FeatureWriter
from fitcli.annotations.rings import Polygon

NAMESPACE = uuid.UUID("a9b4f0de-3f3c-5ad1-9a4e-8c5c1d1f7b52")
"""Namespace of the ids of features."""

WGS84 = 4326
"""EPSG code of longitude and latitude; in GeoJSON, they come in this order, which is another system: CRS84."""

WRITTEN_AT_ONCE = 1 << 18
"""Bytes that are collected before they are written."""

COMPRESSION = 5
"""Effort of gzip, 1 to 9. 6 takes 1.7 times as long, for files that are 3 % smaller."""


class GeoJsonWriter(FeatureWriter):
    """Writes a FeatureCollection; gzipped if the name ends with .gz.

    Pixels are as QuPath has them: of level 0, from the upper left corner, y downwards. For world coordinates, the file
    has the member `crs` of GeoJSON 2008, which GIS programs read; without an EPSG code, there is none. Outer rings are
    counter-clockwise in the numbers of the file, holes clockwise.
    """

    _packed: IO[bytes] | None = None
    _text: IO[bytes] | gzip.GzipFile | None = None
    _count = 0
    _waiting_bytes = 0

    def _begin(self, path: Path) -> None:
        self._packed = self._text = path.open("xb")
        if self.path.name.lower().endswith(".gz"):
            # Without name and time, equal contents have equal bytes.
            self._text = gzip.GzipFile("", "wb", COMPRESSION, self._packed, mtime=0)
        self._waiting: list[str] = []
        self._classes = [
            _class_texts(name, color) for name, color in zip(self.table.names, self.table.colors, strict=True)
        ]
        crs = "" if self.placement.epsg is None else f'"crs":{json_text(crs_member(self.placement.epsg))},'
        self._put(f'{{"type":"FeatureCollection",{crs}"features":[')

    def _add(self, polygon: Polygon, rings: list[NDArray[Any]]) -> None:
        name, properties = self._classes[polygon.number]
        # Much faster than the encoder of JSON, which writes finite numbers the same way.
        coordinates = str([ring.tolist() for ring in rings]).replace(" ", "")
        if "n" in coordinates:
            raise ValueError("a polygon has coordinates that are not finite")
        geometry = f'{{"type":"Polygon","coordinates":{coordinates}}}'
        self._put(
            f'{"," if self._count else ""}\n{{"type":"Feature","id":"{name_uuid(f"{name} {geometry}")}",'
            f'"geometry":{geometry},"properties":{properties}{polygon.area},"isLocked":true}}}}'
        )
        self._count += 1

    def _end(self) -> None:
        self._put("\n]}\n")
        self._flush()
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
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._waiting_bytes >= WRITTEN_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        assert self._text is not None, "the file is closed"
        text, self._waiting, self._waiting_bytes = "".join(self._waiting), [], 0
        self._text.write(text.encode("ascii"))


def name_uuid(name: str) -> str:
    """Return the UUID of version 5 (RFC 9562) of a name in `NAMESPACE`; `uuid.uuid5` takes five times as long."""
    digits = hashlib.sha1(NAMESPACE.bytes + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def _class_texts(name: str, color: Sequence[int] | None) -> tuple[str, str]:
    """Return the name of a class in ids, and the properties of its polygons as JSON up to the area."""
    kind = {"name": name} | ({} if color is None else {"color": list(color)})
    properties = json_text({"objectType": "annotation", "classification": kind, "class": name, "area_px": 0})
    return f"{name!a}", properties.removesuffix("0}")


def json_text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def crs_member(epsg: int) -> dict[str, Any]:
    """Return the `crs` member that names a coordinate system."""
    """Return the `crs` member that names a coordinate system."""
    name = "urn:ogc:def:crs:OGC:1.3:CRS84" if epsg == WGS84 else f"urn:ogc:def:crs:EPSG::{epsg}"
    return {"type": "name", "properties": {"name": name}}
