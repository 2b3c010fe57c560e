"""Defines the objects of one image as a file gives them, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.packed_polygons import PackedPolygons, starts_of
from fitcli.errors import ImageError

Units = Literal["pixels", "shares", "by crs"]
"""Coordinates of a file: pixels of level 0, shares of the sides of the image, or what the `crs` of a GeoJSON says."""

MOST_OBJECTS = 4_000_000
"""Most objects of a file."""

LARGEST_COORDINATE = 1e12
"""Greatest coordinate: beyond it, pixels could not be told apart."""


class ObjectSource(NamedTuple):
    """Where the objects of an image stand.

    Attributes:
        path: The file.
        image: Name of the image in a file that holds the objects of several images; "" if it holds those of one.
    """

    path: Path
    image: str = ""

    def __str__(self) -> str:
        return f"{self.path} ({self.image})" if self.image else str(self.path)


@dataclass(frozen=True, slots=True)
class ObjectSet:
    """The objects of one image, in the coordinates of the file.

    Attributes:
        outlines: Points that the box of each object encloses: an outline, two corners of a box, or the point itself.
        classes: Index of the name of the class of each object, [n].
        names: Names of the classes.
        ignored: Areas in which nothing counts.
        regions: Areas that are annotated; what lies outside does not count. None if the whole image is annotated.
        crowds: Boxes of crowds, (left, top, right, bottom) [m 4]: several objects in one box. `ignored` has them, too.
        crowd_classes: Index of the name of the class of each crowd, [m].
        units: Coordinates of the file.
        crs: The `crs` member of a GeoJSON file; None without one.
        size: (height, width) of the image as the file says; None if it does not say.
        image: Name of the image as a file of one image says; "" if it does not say.
        notes: Objects that were left out, with counts, one line each.
    """

    outlines: PackedPolygons
    classes: NDArray[np.int32]
    names: tuple[str, ...]
    ignored: PackedPolygons
    regions: PackedPolygons | None = None
    crowds: Floats = field(default_factory=lambda: np.empty((0, 4)))
    crowd_classes: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    units: Units = "pixels"
    crs: Any = None
    size: tuple[int, int] | None = None
    image: str = ""
    notes: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of objects by the name of their class; crowds count as 0 objects."""
        numbers = np.bincount(self.classes, minlength=len(self.names)).tolist()
        used = set(np.unique(np.concatenate([self.classes, self.crowd_classes])).tolist())
        return {name: count for number, (name, count) in enumerate(zip(self.names, numbers, strict=True))
                if number in used}  # fmt: skip

    @property
    def size_bytes(self) -> int:
        """Memory of the arrays, which outweigh the rest."""
        areas = (self.outlines, self.ignored, *([] if self.regions is None else [self.regions]))
        return sum(each.points.nbytes + 16 * len(each) for each in areas) + self.classes.nbytes + self.crowds.nbytes


class ImageObjects:
    """Collects the objects of one image from a file of boxes or points."""

    def __init__(self) -> None:
        self._corners: list[float] = []
        self._lengths: list[int] = []
        self._classes: list[int] = []
        self._crowds: list[tuple[float, float, float, float]] = []
        self._crowd_classes: list[int] = []
        self.size: tuple[int, int] | None = None
        self.image = ""
        self.empty = 0

    def add_box(self, sides: Sequence[float], number: int, crowd: bool = False) -> None:
        """Add a box (left, top, right, bottom) of a class; one without an area is counted and left out.

        Raises:
            ValueError: The box is impossible; the message begins with a verb.
        """
        check_coordinates(*sides)
        left, top, right, bottom = sides
        if right < left or bottom < top:
            raise ValueError(
                f"has its sides exchanged: x from {left:g} to {right:g}, y from {top:g} to {bottom:g}"
            )  # fmt: skip
        if right == left or bottom == top:
            self.empty += 1
        elif crowd:
            self._crowds.append((left, top, right, bottom))
            self._crowd_classes.append(number)
        else:
            self._add((left, top, right, bottom), number)

    def add_point(self, point: Sequence[float], number: int) -> None:
        """Add a point (x, y) of a class.

        Raises:
            ValueError: The point is impossible.
        """
        check_coordinates(*point)
        self._add(point, number)

    def _add(self, values: Sequence[float], number: int) -> None:
        if len(self._classes) >= MOST_OBJECTS:
            raise ValueError(f"goes beyond {MOST_OBJECTS:,} objects, the most of an image")
        self._corners.extend(values)
        self._lengths.append(len(values) // 2)
        self._classes.append(number)

    def result(self, names: Iterable[str], units: Units = "pixels") -> ObjectSet:
        """Return what was collected; `names` are those of all classes of the file."""
        crowds = np.array(self._crowds, np.float64).reshape(-1, 4)
        note = f"{self.empty:,} box{'' if self.empty == 1 else 'es'} without an area left out"
        return ObjectSet(
            outlines=packed_points(np.array(self._corners, np.float64).reshape(-1, 2), self._lengths),
            classes=np.array(self._classes, np.int32),
            names=tuple(names),
            ignored=packed_boxes(crowds),
            crowds=crowds,
            crowd_classes=np.array(self._crowd_classes, np.int32),
            units=units,
            size=self.size,
            image=self.image,
            notes=(note,) if self.empty else (),
        )


def check_coordinates(*values: float) -> None:
    """Raise ValueError if a coordinate is NaN, infinite, or beyond any image."""
    if not all(-LARGEST_COORDINATE <= value <= LARGEST_COORDINATE for value in values):
        shown = ", ".join(f"{value:g}" for value in values)
        raise ValueError(f"has the coordinates ({shown}); they must be numbers of at most 1e12")


def packed_points(points: Floats, lengths: Sequence[int]) -> PackedPolygons:
    """Return points [p 2] as objects of some points each."""
    count = len(lengths)
    return PackedPolygons(points, starts_of(np.array(lengths, np.int64)), np.arange(count + 1, dtype=np.int64))


def packed_boxes(boxes: Floats) -> PackedPolygons:
    """Return boxes (left, top, right, bottom) [n 4] as closed outlines."""
    left, top, right, bottom = boxes.reshape(-1, 4).T
    ring = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], axis=1)
    return packed_points(ring.reshape(-1, 2), [5] * len(boxes))


def nothing() -> PackedPolygons:
    """Return no objects."""
    return packed_points(np.empty((0, 2)), [])


def number_in(names: dict[str, int], name: str, path: Path) -> int:
    """Return the index of a name of a class, which is added if it is new.

    Raises:
        ImageError: There are too many.
    """
    number = names.setdefault(name, len(names))
    if number >= MOST_NAMES:
        raise ImageError(path, f"names more than {MOST_NAMES:,} classes; is another column the class?")
    return number


MOST_NAMES = 10_000
"""Most names of classes in a file."""
