"""Places the objects of a file on an open image: boxes in its pixels, and where objects count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import AffineMap, Floats
from fitcli.annotations.objects.object_file import read_objects
from fitcli.annotations.objects.object_set import ObjectSet, ObjectSource, packed_boxes
from fitcli.annotations.packed_polygons import PackedPolygons
from fitcli.annotations.polygon_index import PolygonIndex
from fitcli.annotations.polygon_placement import from_stored_pixels, place_polygons
from fitcli.annotations.rasterize import rasterize
from fitcli.errors import ImageError
from fitcli.files.spelling import composed, existing_spelling
from fitcli.files.wording import counted
from fitcli.images.base import ImageReader
from fitcli.images.rescaled import Rescaled
from fitcli.images.window import Window

LONGEST = 80
"""Letters of a name to show."""

NAMED = 5
"""Unknown classes that a message names."""


@dataclass(frozen=True)
class PlacedObjects:
    """The objects of an image, in its pixels as it is read.

    Attributes:
        boxes: Boxes (left, top, right, bottom) [n 4], clipped to the image; a point has no width and height.
        numbers: Class number of each object, [n].
        crowds, crowd_numbers: Boxes that hold several objects, and their class numbers.
        ignored, regions: Areas in which nothing counts, and areas that are annotated; see `ObjectSet`.
        notes: Objects that were left out, with counts, and doubts about the file, one line each.
    """

    boxes: Floats
    numbers: NDArray[np.int64]
    crowds: Floats
    crowd_numbers: NDArray[np.int64]
    ignored: PackedPolygons
    regions: PackedPolygons | None
    notes: tuple[str, ...] = ()

    @cached_property
    def index(self) -> PolygonIndex:
        """Index of the boxes."""
        return PolygonIndex(self.boxes)

    def near(self, left: float, top: float, right: float, bottom: float) -> NDArray[np.int64]:
        """Return the numbers of the boxes that meet a rectangle, ascending."""
        return self.index.query(left, top, right, bottom) if len(self.boxes) else np.empty(0, np.int64)

    @property
    def counts_everywhere(self) -> bool:
        """Whether nothing is ignored."""
        return self.regions is None and not len(self.ignored)

    def counted(self, y: float, x: float, rows: int, columns: int, step: float) -> NDArray[np.bool_]:
        """Return which points of a grid lie where objects count, [rows columns].

        Args:
            y, x: The first point, in pixels.
            rows, columns: Number of the points.
            step: Distance of the points, in pixels.
        """
        # The points become the middles of pixels.
        scale = AffineMap(a=1 / step, c=0.5 - x / step, e=1 / step, f=0.5 - y / step)
        window = Window(0, 0, rows, columns)
        counts = np.ones((rows, columns), np.bool_)
        if self.regions is not None:
            counts &= _filled(self.regions.mapped(scale), window)
        if len(self.ignored):
            counts &= ~_filled(self.ignored.mapped(scale), window)
        return counts

    def counted_points(self, points: Floats) -> NDArray[np.bool_]:
        """Return which points (x, y) [p 2] lie where objects count: by the pixels that hold them."""
        if self.counts_everywhere or not len(points):
            return np.ones(len(points), np.bool_)
        pixels = np.floor(points).astype(np.int64)
        counts = np.zeros(len(points), np.bool_)
        blocks = pixels // BLOCK
        order = np.lexsort((blocks[:, 0], blocks[:, 1]))
        starts = np.flatnonzero(np.any(np.diff(blocks[order], axis=0, prepend=-1), axis=1))
        for some in np.split(order, starts[1:]):
            left, top = (blocks[some[0]] * BLOCK).tolist()
            own = self.counted(top + 0.5, left + 0.5, BLOCK, BLOCK, 1)
            counts[some] = own[pixels[some, 1] - top, pixels[some, 0] - left]
        return counts


BLOCK = 256
"""Side of the squares in which `counted_points` looks, in pixels."""


def place_objects(source: ObjectSource, image: ImageReader, names: Sequence[str]) -> PlacedObjects:
    """Read the objects of an image and place them.

    Args:
        source: File and image that the objects stand in.
        image: The open image, as `open_as` returns it.
        names: Names of the classes.

    Raises:
        ImageError: The objects cannot be read, are those of another image, or are of unknown classes.
    """
    found = read_objects(source)
    numbers = _class_numbers(source, found, names)
    _check_size(source, found, image)
    renamed = _other_name(source, found, image)
    where = _where(source, found, image)
    boxes = found.outlines.mapped(where).boxes()
    inside = _inside(boxes, image)
    outside = len(boxes) - int(np.count_nonzero(inside))
    if outside and outside == len(boxes):
        width, height = image.info.width, image.info.height
        raise ImageError(
            source.path,
            f"has no object on {image.path}, which is read at {width} x {height} pixels; its objects lie around "
            f"({boxes[0, 0]:.6g}, {boxes[0, 1]:.6g}): check that they are in pixels of this image",
        )
    crowds = _clipped(packed_boxes(found.crowds).mapped(where).boxes(), image)
    return PlacedObjects(
        boxes=_clipped(boxes[inside], image),
        numbers=numbers[found.classes[inside]],
        crowds=crowds,
        crowd_numbers=numbers[found.crowd_classes],
        ignored=found.ignored.mapped(where),
        regions=None if found.regions is None else found.regions.mapped(where),
        notes=(
            *found.notes,
            *([f"{counted(outside, 'object')} outside of {image.path} left out"] if outside else []),
            *([renamed] if renamed else []),
        ),
    )


def _class_numbers(source: ObjectSource, found: ObjectSet, names: Sequence[str]) -> NDArray[np.int64]:
    """Return the class number of each name of the file; -1 for one that no object has."""
    known = {composed(name): number for number, name in enumerate(names)}
    unknown = {name: count for name, count in found.counts().items() if name not in known}
    if unknown:
        shown = ", ".join(f"{name!r} ({count:,})" for name, count in list(unknown.items())[:NAMED])
        more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
        classes = ", ".join(map(repr, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
        raise ImageError(source.path, f"has objects of unknown classes: {shown}{more}; the classes are {classes}")
    return np.array([known.get(name, -1) for name in found.names], np.int64)


def _check_size(source: ObjectSource, found: ObjectSet, image: ImageReader) -> None:
    stored = image
    while isinstance(stored, Rescaled):
        stored = stored.image
    whole = stored.info.size
    if found.size is not None and found.size != whole:
        raise ImageError(
            source.path,
            f"says that {source.image or image.path.name} has {found.size[1]} x {found.size[0]} pixels, but "
            f"{image.path} has {whole[1]} x {whole[0]}; its boxes would lie elsewhere",
        )


def _other_name(source: ObjectSource, found: ObjectSet, image: ImageReader) -> str:
    """Return a note on a file that names another image than that of its own name; "" otherwise.

    The suffix may differ: images are often converted.

    Raises:
        ImageError: The image of that name lies beside this one, so the objects are most likely its own.
    """
    stated, own = found.image.replace("\\", "/").rpartition("/")[2], composed(image.path.name)
    names = [name.lower() for name in (stated, Path(stated).stem)]
    if not stated or own.lower() in names or any(own.lower().startswith(f"{name}.") for name in names):
        return ""
    text = f"says that it belongs to {stated[:LONGEST]!r}"
    if stated not in (".", "..") and (other := existing_spelling(image.path.parent / stated)) is not None:
        raise ImageError(
            source.path,
            f"{text}, which lies beside {image.path}; its boxes may be those of {other.name}: exchange the files, or "
            "correct its <filename>",
        )
    return f"{text}, but is used for {image.path.name}"


def _where(source: ObjectSource, found: ObjectSet, image: ImageReader) -> AffineMap:
    """Return the map from coordinates of the file to pixels of the open image."""
    if found.units == "shares":
        return AffineMap(a=image.info.width, e=image.info.height)
    if found.units == "by crs":
        areas = (found.outlines, found.ignored, *([] if found.regions is None else [found.regions]))
        boxes = np.concatenate([each.boxes() for each in areas])
        if not len(boxes):
            return from_stored_pixels(image)
        return place_polygons(source.path, found.crs, PolygonIndex(boxes), boxes, image)
    return from_stored_pixels(image)


def _inside(boxes: Floats, image: ImageReader) -> NDArray[np.bool_]:
    """Return which boxes meet the image; of a box that is clipped, some area must be left."""
    width, height = image.info.width, image.info.height
    left, top, right, bottom = boxes.T
    meets: NDArray[np.bool_] = (left < width) & (top < height) & (right > 0) & (bottom > 0)
    # A point on the upper or left edge lies in the first pixel.
    meets |= (left == right) & (top == bottom) & (left >= 0) & (top >= 0) & (left < width) & (top < height)
    return meets


def _clipped(boxes: Floats, image: ImageReader) -> Floats:
    width, height = image.info.width, image.info.height
    return np.stack([boxes[:, n].clip(0, side) for n, side in enumerate((width, height, width, height))], axis=1)


def _filled(polygons: PackedPolygons, window: Window) -> NDArray[np.bool_]:
    return rasterize(polygons, np.ones(len(polygons), np.uint8), window, 0).astype(np.bool_)
