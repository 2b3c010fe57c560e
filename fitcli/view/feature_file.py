"""Reads the objects and polygons of a file in pixels of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import Color
from fitcli.annotations.geojson_reader import read_geojson
from fitcli.annotations.geopackage_reader import is_geopackage, read_geopackage
from fitcli.annotations.objects.coco_reader import holds_coco
from fitcli.annotations.objects.object_file import GEOJSON, JSON, OBJECT_SUFFIXES, read_objects
from fitcli.annotations.objects.object_set import ObjectSource, packed_boxes
from fitcli.annotations.objects.placed_objects import place_objects
from fitcli.annotations.packed_polygons import PackedPolygons
from fitcli.annotations.polygon_collector import GeoJsonPolygons
from fitcli.annotations.polygon_index import PolygonIndex
from fitcli.annotations.polygon_labels import ONLY_KIND
from fitcli.annotations.polygon_placement import place_polygons
from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.view.class_legend import distinct_colors

FEATURE_SUFFIXES = (*OBJECT_SUFFIXES, ".gpkg")
"""Suffixes of files of polygons and objects, in lower case."""


@dataclass(frozen=True, slots=True)
class ViewedFeatures:
    """Polygons, boxes and points over an image.

    Attributes:
        shapes: Their outlines, in pixels of the image. A point is an outline of one point.
        classes: Index of the name of the class of each, [n].
        names: Names of the classes.
        notes: Sentences about features that were left out, one line each.
    """

    shapes: PackedPolygons
    classes: NDArray[np.int32]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def colors(self, known: Mapping[str, Color]) -> list[Color]:
        """Return a colour for each class, those that are known for its name first."""
        taken = {known[name] for name in self.names if name in known}
        # As many more as may be taken.
        others = (color for color in distinct_colors(["", *self.names, *[""] * len(taken)]) if color not in taken)
        return [known[name] if name in known else next(others) for name in self.names]


def holds_features(path: Path) -> bool:
    """Return whether a file holds polygons or objects, by its suffix."""
    return path.name.lower().endswith(FEATURE_SUFFIXES)


def read_features(
    path: Path, image: ImageReader, report: Callable[[ViewedFeatures], None] | None = None
) -> ViewedFeatures:
    """Read a file.

    Args:
        path: The file.
        image: The image that the shapes lie over.
        report: Called with the shapes so far while a large GeoJSON file is read.

    Raises:
        ImageError: The file cannot be read, is of another coordinate system, or has nothing on the image.
    """
    name = path.name.lower()
    if is_geopackage(path):
        return _placed(path, read_geopackage(path), image)
    if name.endswith((*GEOJSON, *JSON)) and not (name.endswith(JSON) and holds_coco(path)):
        return _placed(path, read_geojson(path, points=True, report=_placing(path, image, report)), image)
    if not name.endswith(OBJECT_SUFFIXES):
        raise ImageError(path, f"polygons and objects are read from {', '.join((*OBJECT_SUFFIXES, '.gpkg'))}")
    source = ObjectSource(path)
    names = read_objects(source).names
    placed = place_objects(source, image, names)
    return ViewedFeatures(packed_boxes(placed.boxes), placed.numbers.astype(np.int32), names, placed.notes)


def _placing(
    path: Path, image: ImageReader, report: Callable[[ViewedFeatures], None] | None
) -> Callable[[GeoJsonPolygons], None] | None:
    """Return what reports a part of a file in pixels of an image."""
    if report is None:
        return None

    def report_placed(content: GeoJsonPolygons) -> None:
        # What does not fit the image so far may do so at the end: its place or its coordinate system may follow.
        with suppress(ImageError):
            report(_placed(path, content, image))

    return report_placed


def _placed(path: Path, content: GeoJsonPolygons, image: ImageReader) -> ViewedFeatures:
    shapes = content.polygons
    if len(shapes):
        boxes = shapes.boxes()
        shapes = shapes.mapped(place_polygons(path, content.crs, PolygonIndex(boxes), boxes, image))
    names = tuple(name or ONLY_KIND for name in content.names)
    return ViewedFeatures(shapes, content.classes, names, content.notes)
