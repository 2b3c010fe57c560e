"""Checks and counts the objects of a data set before its first training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_positions import MOST_POSITIONS, POSITIONS, Positions
from fitcli.annotations.class_table import MOST_CLASSES
from fitcli.annotations.label_results import NAMED, try_all
from fitcli.annotations.objects.object_file import read_objects
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.annotations.objects.placed_objects import PlacedObjects, place_objects
from fitcli.annotations.objects.suppression import Places
from fitcli.errors import DataError
from fitcli.files.wording import counted
from fitcli.images.read_as import AS_STORED, ReadAs, open_as

SMALLEST_SIDE = 1.0
"""Least mean side of a box that a model can learn, in pixels."""

Listed = tuple[Path, ObjectSource]
"""An image and where its objects stand."""


class ImageCounts(NamedTuple):
    """The objects of one image.

    Attributes:
        sides: Width and height of the objects in pixels of the image as it is read, [n 2]; 0 for points.
        numbers: Class numbers, [n].
        notes: Objects that were left out.
        positions: Some middles of objects by class number, (row, column).
        sharing: Number of objects at the place of one of another class.
    """

    sides: NDArray[np.float64]
    numbers: NDArray[np.int64]
    notes: tuple[str, ...]
    positions: dict[int, Positions]
    sharing: int


@dataclass(frozen=True, slots=True)
class ObjectSurvey:
    """The objects of a data set.

    Attributes:
        names: Names of the classes, sorted.
        counts: Number of objects of each class.
        are_points: Whether objects are points; otherwise they are boxes.
        side: Typical side of a box in pixels, the median of the geometric means of its sides; 0 for points.
        empty: Number of images without an object.
        notes: Sentences on the objects.
        warnings: Possible faults, one line each.
        positions: Middles of objects of each class, by image, that windows may be drawn around.
        sharing: Number of objects at the place of one of another class, see `Places`.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    are_points: bool
    side: float
    empty: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    positions: dict[Path, tuple[Positions, ...]] = field(default_factory=dict)
    sharing: int = 0


def survey_objects(
    samples: Sequence[tuple[Path, ObjectSource | None]],
    read_as: ReadAs = AS_STORED,
    most_bad: int = 0,
    positions: bool = False,
    held_out: Collection[Path] = (),
    cell: int = 1,
) -> ObjectSurvey:
    """Check and count the objects of a data set. They are all boxes or all points.

    Args:
        samples: Images, each with the place of its objects or None.
        read_as: Part of each image file that is read.
        most_bad: Number of images with unusable objects to pass over.
        positions: Whether to draw positions of the classes.
        held_out: The images that are not trained on.
        cell: Side of the cells of the model, in pixels: points in neighbouring cells share a place.

    Raises:
        DataError: Objects are unreadable or not those of their images; some are boxes and others points; there is none.
    """
    listed = [(image, source) for image, source in samples if source is not None]
    if not listed:
        raise DataError("no image has a file of objects; give those of some images")
    named = try_all(lambda sample: tuple(read_objects(sample[1]).counts()), listed, most_bad)
    names = tuple(sorted({name for _, own in named for name in own}))
    if not names:
        raise DataError(f"{listed[0][1]}: neither this nor another file has an object; annotate some")
    if len(names) > MOST_CLASSES:
        raise DataError(
            f"{listed[0][1].path}: the objects have {len(names):,} classes; at most {MOST_CLASSES} are learned"
        )
    usable = [sample for sample, _ in named]
    left = most_bad - (len(listed) - len(usable))
    found = try_all(lambda sample: _counts(*sample, names, read_as, positions, cell), usable, left)
    are_points, side = _kind(found)
    totals = Counter[int]()
    for _, each in found:
        totals.update(each.numbers.tolist())
    empty = sum(not len(each.numbers) for _, each in found)
    notes = [f"{empty:,} of {counted(len(found), 'image')} without an object"] if empty else []
    return ObjectSurvey(
        names=names,
        counts=tuple(totals[number] for number in range(len(names))),
        are_points=are_points,
        side=side,
        empty=empty,
        notes=(*notes, *_left_out(found)),
        warnings=tuple(_unseen(names, found, held_out)),
        positions={sample[0]: tuple(each.positions[n] for n in sorted(each.positions)) for sample, each in found},
        sharing=sum(each.sharing for _, each in found),
    )


def draw_object_positions(
    samples: Sequence[tuple[Path, ObjectSource | None]], names: Sequence[str], read_as: ReadAs, most_bad: int
) -> dict[Path, tuple[Positions, ...]]:
    """Return the positions that `survey_objects` draws, for known classes.

    Raises:
        DataError: More than `most_bad` files are unusable.
    """
    listed = [(image, source) for image, source in samples if source is not None]
    found = try_all(lambda sample: _counts(*sample, names, read_as, True), listed, most_bad)
    return {sample[0]: tuple(each.positions[n] for n in sorted(each.positions)) for sample, each in found}


def _counts(
    path: Path, source: ObjectSource, names: Sequence[str], read_as: ReadAs, positions: bool, cell: int = 1
) -> ImageCounts:
    with open_as(path, read_as) as image:
        objects = place_objects(source, image, names)
    sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
    are_points = not sides.any()
    cells = np.floor(objects.boxes[:, [1, 0]] / cell).astype(np.int64)
    places = Places.of_points(cells) if are_points else Places.of_boxes(objects.boxes)
    drawn = _positions(objects) if positions else {}
    return ImageCounts(sides, objects.numbers, objects.notes, drawn, places.shared(objects.numbers))


def _positions(objects: PlacedObjects) -> dict[int, Positions]:
    """Return middles of objects by class, evenly spaced in the list of objects."""
    middles = ((objects.boxes[:, [1, 0]] + objects.boxes[:, [3, 2]]) / 2).astype(np.int64)
    present = np.unique(objects.numbers)
    most = max(1, min(POSITIONS, MOST_POSITIONS // max(1, len(present))))
    drawn = {}
    for number in present.tolist():
        own = np.flatnonzero(objects.numbers == number)
        count = min(most, len(own))
        drawn[number] = middles[own[np.arange(count) * len(own) // count]]
    return drawn


def _kind(found: list[tuple[Listed, ImageCounts]]) -> tuple[bool, float]:
    """Return whether objects are points, and the typical side of boxes."""
    points = {bool(is_point): sample for sample, each in found for is_point in np.unique(~each.sides.any(axis=1))}
    if len(points) == 2:
        raise DataError(
            f"{points[True][1]}: has points, but {points[False][1]} has boxes; give objects of one kind"
        )  # fmt: skip
    if True in points:
        return True, 0.0
    sides = np.concatenate([np.sqrt(np.maximum(each.sides, 1e-3).prod(axis=1)) for _, each in found])
    side = float(np.median(sides))
    if side < SMALLEST_SIDE:
        raise DataError(
            f"{found[0][0][1]}: half of the boxes of the data set are smaller than {SMALLEST_SIDE:g} pixel "
            f"({side:.3g}); check that they are in pixels, or read the images at a larger scale"
        )
    return False, side


def _left_out(found: list[tuple[Listed, ImageCounts]]) -> list[str]:
    """Return the notes on objects that were left out: the first of each image, and how many images have some."""
    noted = [(sample[1], note) for sample, each in found for note in each.notes]
    lines = [f"{source.path.name}: {note}" for source, note in noted[:NAMED]]
    return [*lines, *([f"{len(noted) - NAMED:,} more such notes"] if len(noted) > NAMED else [])]


def _unseen(names: Sequence[str], found: list[tuple[Listed, ImageCounts]], held_out: Collection[Path]) -> list[str]:
    """Return a warning of classes that only images have that are not trained on."""
    trained = {n for sample, each in found if sample[0] not in held_out for n in np.unique(each.numbers).tolist()}
    unseen = [name for number, name in enumerate(names) if number not in trained]
    if not unseen:
        return []
    more = f", and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
    return [
        f"no training image shows {', '.join(map(repr, unseen[:NAMED]))}{more}: a model cannot learn what it never "
        "sees; move images between the splits"
    ]
