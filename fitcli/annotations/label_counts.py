"""Counts the labels of one image, in bounded time and memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fitcli.annotations.class_positions import ClassPositions, Positions
from fitcli.annotations.class_table import ClassTable, Color
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.label_values import Value, count_values
from fitcli.annotations.labels import label_file, open_labels
from fitcli.annotations.stored_labels import StoredLabels
from fitcli.images.base import ImageReader
from fitcli.images.find import is_zarr
from fitcli.images.read_as import ReadAs, open_as
from fitcli.images.window import Window
from fitcli.images.zarr.image_labels import value_names

MOST_PIXELS = 1 << 26
"""Pixels of labels that are read of an image: all of one with no more, else squares on a regular grid."""

STRIP_PIXELS = 1 << 22
"""Pixels that are read at a time."""

SQUARE_SIDE = 256
"""Side of the squares in pixels of the label image: no larger than usual chunks."""

MOST_VALUES = 1 << 16
"""Number of different values of an image at which counting ends: it is no label image."""


class LabelCounts(NamedTuple):
    """The labels of one image.

    Attributes:
        pixels: Number of pixels by value of a label image, or by class number for polygons; without ignored ones.
        share: Share of the pixels of the image that were read; the numbers are those of the whole image, about.
        factor: Pixels of the image per pixel of the label image.
        nodata: Nodata value of the label image; None without one.
        names, colors: Names and colours of values that the label image itself gives.
        notes: Sentences on what is left out.
        positions: Some positions in pixels of the image, by the keys of `pixels`; empty if not asked for.
    """

    pixels: Counter[Value]
    share: float
    factor: int = 1
    nodata: float | None = None
    names: dict[int, str] = {}  # noqa: RUF012
    colors: dict[int, Color] = {}  # noqa: RUF012
    notes: tuple[str, ...] = ()
    positions: dict[Value, Positions] = {}  # noqa: RUF012


def count_label_image(image_path: Path, labels: Path, read_as: ReadAs, positions: bool = False) -> LabelCounts:
    """Count the values of a label image.

    Args:
        image_path: The image.
        labels: Its label image.
        read_as: Part of the image file that is read. Labels are counted at its pixels.
        positions: Whether to draw positions.

    Raises:
        ImageError: The image or its labels cannot be read, or do not go together.
    """
    path = label_file(labels)
    with open_as(image_path, read_as) as image, StoredLabels(path, image) as stored:
        windows = survey_windows(stored.info.size, stored.steps)
        pixels, found = _count(stored, windows, positions)
        names = value_names(path) if is_zarr(path) else value_names_of_palette(stored.info.palette)
        share = sum(window.area for window in windows) / math.prod(stored.info.size)
        counts = LabelCounts(_whole(pixels, share), share, stored.factor, stored.info.nodata, *names)
        return counts._replace(positions=found)


def _count(
    labels: ImageReader, windows: Sequence[Window], positions: bool
) -> tuple[Counter[Value], dict[Value, Positions]]:
    """Return the number of pixels by value, and positions if asked for. Missing values do not count."""
    pixels: Counter[Value] = Counter()
    drawn = ClassPositions()
    for window in windows:
        values = labels.read(window)
        counts = count_values(values, labels.info.nodata).pixels
        pixels.update(counts)
        if len(pixels) >= MOST_VALUES:
            break
        if positions:
            drawn.add(values, window, counts)
    return pixels, drawn.found()


def value_names_of_palette(palette: tuple[Color, ...]) -> tuple[dict[int, str], dict[int, Color]]:
    """Return the names, of which a palette has none, and the colours of its indices."""
    return {}, dict(enumerate(palette))


def count_polygons(
    image_path: Path, labels: Path, table: ClassTable, rules: LabelRules, read_as: ReadAs, positions: bool = False
) -> LabelCounts:
    """Count the pixels of each class that polygons cover.

    Raises:
        ImageError, DataError: The image or the polygons cannot be read, or do not go together.
    """
    with open_as(image_path, read_as) as image, open_labels(labels, image, table, rules) as polygons:
        windows = survey_windows(polygons.info.size)
        pixels, found = _count(polygons, windows, positions)
        share = sum(window.area for window in windows) / math.prod(polygons.info.size)
        notes = tuple(getattr(polygons, "notes", ()))
        return LabelCounts(_whole(pixels, share), share, notes=notes, positions=found)


def survey_windows(size: tuple[int, int], steps: tuple[float, float] = (1.0, 1.0)) -> list[Window]:
    """Return the windows of labels that are counted, from top to bottom: strips of the whole, or squares of a part.

    Args:
        size: (height, width) in pixels.
        steps: Pixels of the label image that each of them takes to read, along height and width.
    """
    height, width = size
    cost = max(steps[0], 1.0) * max(steps[1], 1.0)
    if height * width * cost <= MOST_PIXELS:
        rows = max(1, int(STRIP_PIXELS / cost / width))
        return [Window(top, 0, min(rows, height - top), width) for top in range(0, height, rows)]
    # Strips would skip most rows, and with them most objects. Squares of whole chunks meet whatever is larger than
    # their distance.
    side = max(16, int(SQUARE_SIDE / max(*steps, 1.0)))
    share = MOST_PIXELS / (height * width * cost)
    rows, columns = -(-height // side), -(-width // side)
    down = min(rows, max(1, round(rows * math.sqrt(share))))
    across = min(columns, max(1, round(rows * columns * share / down)))
    # A narrow image has fewer columns than that.
    down = min(rows, max(1, round(rows * columns * share / across)))
    tops, lefts = _evenly(rows, down, side), _evenly(columns, across, side)
    return [Window(top, left, side, side).clip(height, width) for top in tops for left in lefts]


def _evenly(count: int, kept: int, side: int) -> list[int]:
    """Return where squares begin of which `kept` of `count` are read along an axis."""
    return [(2 * number + 1) * count // (2 * kept) * side for number in range(kept)]


def _whole(pixels: Counter[Value], share: float) -> Counter[Value]:
    """Return numbers of pixels of a whole image, given those of a part."""
    return pixels if share == 1 else Counter({value: round(count / share) for value, count in pixels.items()})
