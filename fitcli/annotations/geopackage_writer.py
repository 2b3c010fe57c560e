"""Writes polygons as a GeoPackage, as GIS programs read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fitcli.annotations.feature_writer import FeatureWriter
from fitcli.annotations.geopackage_file import POLYGON, GeoPackageFile, class_values
from fitcli.annotations.rings import Polygon

TABLE = "polygons"
"""Name of the table of features."""

COLUMNS = {"class": "TEXT", "color": "TEXT", "area_px": "DOUBLE"}


class GeoPackageWriter(FeatureWriter):
    """Writes a table of polygons with class, colour (`#rrggbb`) and area in square pixels."""

    _package: GeoPackageFile | None = None

    def _begin(self, path: Path) -> None:
        self._classes = class_values(self.table)
        self._package = GeoPackageFile(path, TABLE, POLYGON, COLUMNS, self.placement.epsg)

    def _add(self, polygon: Polygon, rings: list[NDArray[Any]]) -> None:
        assert self._package is not None, "the file is closed"
        self._package.add(rings, (*self._classes[polygon.number], float(polygon.area)))

    def _end(self) -> None:
        assert self._package is not None, "the file is closed"
        self._package.finish()

    def _release(self) -> None:
        if self._package is not None:
            self._package.release()
