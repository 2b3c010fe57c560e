"""Polygons for tests: packed, as GeoJSON, and files of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fitcli.annotations.packed_polygons import PackedPolygons, starts_of

Ring = Sequence[tuple[float, float]]


def packed(polygons: Sequence[Sequence[Ring]]) -> PackedPolygons:
    rings = [np.array([*ring, ring[0]], np.float64) for polygon in polygons for ring in polygon]
    return PackedPolygons(
        np.concatenate(rings),
        starts_of(np.array([len(ring) for ring in rings])),
        starts_of(np.array([len(polygon) for polygon in polygons])),
    )


def geometry(polygon: Sequence[Ring]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": [[list(map(float, p)) for p in [*ring, ring[0]]] for ring in polygon]}


def square(left: float, top: float, side: float) -> list[Ring]:
    right, bottom = left + side, top + side
    return [[(left, top), (right, top), (right, bottom), (left, bottom)]]


def feature(polygon: Sequence[Ring], name: str | None = None, **properties: Any) -> dict[str, Any]:
    """A feature as QuPath writes it."""
    classification = {} if name is None else {"classification": {"name": name, "color": [200, 0, 0]}}
    return {
        "type": "Feature",
        "geometry": geometry(polygon),
        "properties": {"objectType": "annotation"} | classification | properties,
    }


def collection(*features: Any, **members: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)} | members


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def table(*names: str) -> Any:
    return SimpleNamespace(names=names, values=tuple(range(len(names))))


def rules(elsewhere: str | None = None) -> Any:
    return SimpleNamespace(elsewhere=elsewhere)
