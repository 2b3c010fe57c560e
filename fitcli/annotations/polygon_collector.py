"""Collects polygons and their classes from features and geometries as GeoJSON has them, of files of any kind."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.packed_polygons import PackedPolygons
from fitcli.annotations.ring_text import DecodedRings, decode_rings
from fitcli.errors import ImageError
from fitcli.files.spelling import composed
from fitcli.files.wording import counted

MAX_FEATURES, MAX_RING, MAX_POINTS = 1_000_000, 1_000_000, 10_000_000
"""Most features (and parts of them) of a file, and points of a ring and of a file."""

MAX_COORDINATE = 1e12
"""Greatest coordinate: beyond it, pixels could not be told apart."""

MAX_CLASSES, MAX_NAME = 10_000, 1000
"""Most names of classes in a file, and characters of a name."""

NO_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})

POINTS = frozenset({"Point", "MultiPoint"})

CLASS_PROPERTIES = ("classification", "class", "label", "name")
"""Properties that name the class, in the order in which they are looked for, in any case of letters."""

QUPATH_PROPERTIES = frozenset({"objectType", "object_type", "isLocked"})
"""Properties that tell an object of QuPath."""

FEATURE_ADVICE, SPLIT = "correct it, or leave it out", "split the file"
"""What to do about a feature that cannot be read, and about too many, for messages."""

FEW_POINTS = "of fewer than three different points"

UNCLASSIFIED = ""
"""Class of a polygon without a class."""


@dataclass(frozen=True, slots=True)
class GeoJsonPolygons:
    """The polygons of a file.

    Attributes:
        polygons: Polygons in the coordinates and the order of the file.
        classes: Index of the name of the class of each polygon.
        names: Names of classes; `UNCLASSIFIED` is one of them if a polygon has no class.
        crs: The `crs` member of the file; None without one.
        notes: Kinds of objects that were left out, with counts, one line each.
    """

    polygons: PackedPolygons
    classes: NDArray[np.int32]
    names: tuple[str, ...]
    crs: Any
    notes: tuple[str, ...]


class PolygonCollector:
    """Collects polygons in growing arrays, from features and geometries as GeoJSON has them.

    Args:
        path: The file, for messages.
        points: Whether points are kept, as polygons of one point.
    """

    def __init__(self, path: Path, points: bool = False) -> None:
        self._path, self._keeps_points = path, points
        self._coordinates, self._rings, self._polygons, self._classes = array("d"), array("q"), array("q"), array("i")
        self._names: dict[str, int] = {}
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._features = 0
        self._decoded = DecodedRings()

    def add_text(self, text: str) -> int:
        """Add the features and geometries of the text of an array; return their number.

        Raises:
            ValueError, RecursionError: It is no JSON; nothing has been added.
            ImageError: As of `add`.
        """
        items, self._decoded = decode_rings(text)
        if not self._add_alike(items):
            for item in items:
                self.add(item)
        self._decoded = DecodedRings()
        return len(items)

    def _add_alike(self, items: list[Any]) -> bool:
        """Add features that are polygons of one ring with an area each; return False if others are among them."""
        rings, count = self._decoded, len(items)
        points = len(self._coordinates) // 2 - len(self._rings) + int(rings.given.sum())
        is_within = points <= MAX_POINTS and self._features + count <= MAX_FEATURES
        if not (is_within and 0 < count == len(rings.given) and rings.has_area.all() and rings.given.max() <= MAX_RING):
            return False
        try:
            numbers = [
                rings.numbers[item["geometry"]["coordinates"]]
                for item in items
                if item["type"] == "Feature" and item["geometry"]["type"] == "Polygon"
            ]
            if numbers != list(range(count)):
                return False
            classes = [self._class_number(item.get("properties")) for item in items]
        except (KeyError, TypeError, ValueError):
            return False
        ends = len(self._coordinates) // 2 + rings.starts[1:]
        self._coordinates.frombytes(rings.points.tobytes())
        self._polygons.extend(range(len(self._rings) + 1, len(self._rings) + count + 1))
        self._rings.frombytes(ends.tobytes())
        self._classes.extend(classes)
        self._features += count
        return True

    def add(self, item: Any) -> None:
        """Add a feature or a geometry."""
        self.add_made(lambda: item)

    def add_made(self, make: Callable[[], Any]) -> None:
        """Add what a function returns. Its ValueError says what is wrong with the feature.

        Raises:
            ImageError: The feature cannot be read, or there are too many.
        """
        self._count_feature()
        try:
            item = make()
            if not isinstance(item, dict):
                raise ValueError("is no object")
            if item.get("type") == "Feature":
                self._add_geometry(item.get("geometry"), self._class_number(item.get("properties")))
            else:
                self._add_geometry(item, self._number_of(UNCLASSIFIED))
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            own = error.args if type(error) is ValueError else ("has a wrong structure",)
            reason, advice = (*own, FEATURE_ADVICE)[:2]
            raise ImageError(self._path, f"feature {self._features:,} {reason}; {advice}") from None

    def result(self, crs: Any, more: bool = False) -> GeoJsonPolygons:
        """Return the polygons so far; with `more`, further ones can be added."""
        # Growing arrays cannot grow while others look at them.
        coordinates = array("d", self._coordinates) if more else self._coordinates
        points = np.frombuffer(coordinates, np.float64).reshape(-1, 2)
        # Sums tell whether any number is not finite, without an array of their size.
        with np.errstate(all="ignore"):
            is_wrong = len(points) > 0 and not bool(max(-points.min(), points.max()) <= MAX_COORDINATE)
        if is_wrong:
            wrong = int(np.flatnonzero(~(np.abs(points) <= MAX_COORDINATE).all(axis=1))[0])
            pair = ", ".join(f"{value:g}" for value in points[wrong])
            raise ImageError(self._path, f"has a point at ({pair}); coordinates must be numbers of at most 1e12")
        packed = PackedPolygons(points, _with_zero(self._rings), _with_zero(self._polygons))
        used, classes = np.unique(np.array(self._classes, np.int32), return_inverse=True)
        names = tuple(self._names)
        notes = tuple(f"{counted(count, *what)} left out" for what, count in sorted(self._skipped.items()))
        kept = tuple(names[number] for number in used.tolist())
        return GeoJsonPolygons(packed, classes.astype(np.int32), kept, crs, notes)

    def _count_feature(self) -> None:
        self._features += 1
        if self._features > MAX_FEATURES:
            raise ImageError(self._path, f"has more than {MAX_FEATURES:,} features; {SPLIT}")

    def _add_geometry(self, geometry: Any, number: int) -> None:
        if geometry is None:
            self._skipped["feature without geometry", "features without geometry"] += 1
            return
        if not isinstance(geometry, dict):
            raise ValueError("has a geometry that is no object")
        kind = geometry.get("type")
        if kind == "Polygon":
            self._add_polygon(self._coordinate_list(geometry), number)
        elif kind == "MultiPolygon":
            for part in self._coordinate_list(geometry):
                self._add_part()
                self._add_polygon(part, number)
        elif kind == "GeometryCollection":
            for part in _list(geometry.get("geometries")):
                self._add_part()
                self._add_geometry(part, number)
        elif kind in POINTS and self._keeps_points:
            coordinates = self._coordinate_list(geometry)
            for point in [coordinates] if kind == "Point" else coordinates:
                self._add_part()
                self._add_point(point, number)
        elif kind in NO_AREA:
            # Where points are objects, only lines are passed over.
            names = ("line", "lines") if self._keeps_points else ("point or line", "points and lines")
            self._skipped[names] += 1
        else:
            raise ValueError(f"has the unknown geometry {str(kind)[:40]!r}")

    def _coordinate_list(self, geometry: dict[str, Any]) -> list[Any]:
        coordinates = geometry.get("coordinates")
        if type(coordinates) is str and coordinates in self._decoded.numbers:
            return [self._decoded.ring(coordinates).tolist()]
        return _list(coordinates)

    def _add_part(self) -> None:
        if len(self._polygons) >= MAX_FEATURES:
            raise ValueError(f"has too many parts: a file may have {MAX_FEATURES:,} polygons", SPLIT)

    def _add_polygon(self, rings: Any, number: int) -> None:
        if not _list(rings):
            self._skipped["empty polygon", "empty polygons"] += 1
            return
        outline = True
        for ring in rings:
            if self._add_ring(ring):
                outline = False
            elif outline:
                # Without its outline, holes would be filled.
                self._skipped[f"polygon {FEW_POINTS}", f"polygons {FEW_POINTS}"] += 1
                return
            else:
                self._skipped[f"hole {FEW_POINTS}", f"holes {FEW_POINTS}"] += 1
        self._polygons.append(len(self._rings))
        self._classes.append(number)

    def _add_point(self, point: Any, number: int) -> None:
        if len(_list(point)) < 2 or not {type(value) for value in point[:2]} <= {int, float}:
            raise ValueError("has a point without two numbers")
        self._coordinates.extend(point[:2])
        self._rings.append(len(self._coordinates) // 2)
        self._polygons.append(len(self._rings))
        self._classes.append(number)

    def _add_ring(self, ring: Any) -> bool:
        """Add a ring, closed. Return False if it has no area."""
        count = len(_list(ring))
        if count > MAX_RING + 1:
            raise ValueError(f"has a ring of {counted(count, 'point')}; at most {MAX_RING:,} can be read")
        if not count:
            return False
        lengths = set(map(len, ring))
        if lengths != {2}:
            if min(lengths) < 2:
                raise ValueError("has a point with fewer than two coordinates")
            ring = [point[:2] for point in ring]
        if not set(map(type, ring)) <= {list} or not set(map(type, chain.from_iterable(ring))) <= {int, float}:
            raise ValueError("has coordinates that are no numbers")
        if len(set(map(tuple, ring[:8]))) < 3 and len(set(map(tuple, ring))) < 3:
            return False
        self._coordinates.extend(chain.from_iterable(ring))
        if ring[0] != ring[-1]:
            self._coordinates.extend(ring[0])
        self._rings.append(len(self._coordinates) // 2)
        if len(self._coordinates) // 2 - len(self._rings) > MAX_POINTS:
            raise ValueError(f"goes beyond {MAX_POINTS:,} points, the most of a file", SPLIT)
        return True

    def _class_number(self, properties: Any) -> int:
        return self._number_of(class_of(properties) if isinstance(properties, dict) else UNCLASSIFIED)

    def _number_of(self, name: str) -> int:
        number = self._names.get(name)
        if number is None:
            if len(self._names) >= MAX_CLASSES or len(name) > MAX_NAME:
                raise ValueError(f"goes beyond {MAX_CLASSES:,} classes of a file, or {MAX_NAME:,} characters of a name")
            number = self._names[name] = len(self._names)
        return number


def class_of(properties: Mapping[str, Any]) -> str:
    """Return the name of the class that the properties of a feature give, or `UNCLASSIFIED`."""
    value = properties.get("classification")
    if isinstance(value, dict):
        names = value.get("names")
        value = ": ".join(map(str, names)) if isinstance(names, list) and names else value.get("name")
        return composed_name(value)
    if not QUPATH_PROPERTIES.isdisjoint(properties):
        return composed_name(value)
    lowered = {key.casefold(): each for key, each in properties.items()}
    return next((name for key in CLASS_PROPERTIES if (name := composed_name(lowered.get(key)))), UNCLASSIFIED)


def composed_name(value: Any) -> str:
    """Return a text or an integer as the name of a class, without blanks around it; `UNCLASSIFIED` for the rest."""
    if isinstance(value, str):
        return value.strip() if value.isascii() else composed(value).strip()
    return str(value) if type(value) is int else UNCLASSIFIED


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("has coordinates that are no list")
    return value


def _with_zero(ends: array[int]) -> NDArray[np.int64]:
    starts = np.zeros(len(ends) + 1, np.int64)
    starts[1:] = ends
    return starts
