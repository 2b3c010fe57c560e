"""Files of polygons of a small map, for the tests of their writers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from support.class_maps import blobs

from fitcli.annotations.features import open_features
from fitcli.annotations.rings import Polygon
from fitcli.annotations.trace import trace_map
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference

TABLE = SimpleNamespace(names=("stroma", 'tumour "Ä"', "fat", "other"), colors=((1, 2, 3), (255, 0, 16), None, None))

KEYS = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)

UTM = GeoReference(scale=(2.0, 2.0, 0.0), tiepoints=(0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0), keys=KEYS)

CELLS = blobs(60, 80, 8)


def info(geo: GeoReference | None = None) -> ImageInfo:
    return ImageInfo(height=60, width=80, channels=3, dtype=np.dtype("u1"), geo=geo)


def polygons() -> list[Polygon]:
    return list(trace_map(CELLS, untraced=[3]))


def write(path: Path, geo: GeoReference | None = None, **options: Any) -> Path:
    with open_features(path, TABLE, info(geo), **options) as file:
        file.write(polygons())
    return path
