"""What reports show of a detector: FROC and precision by recall, and images with right, false and missed objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.objects.placed_objects import PlacedObjects, place_objects
from fitcli.data.dataset import Sample
from fitcli.files.wording import counted
from fitcli.images.base import ImageReader
from fitcli.images.line_drawing import draw_lines
from fitcli.images.small_view import small_view
from fitcli.images.window import Window
from fitcli.reports.parts import RGB, Case, Chart, ChartSeries, Picture, Section
from fitcli.tasks.assessment import Assessment
from fitcli.tasks.detect.cell_layout import Integers
from fitcli.tasks.detect.config import DetectDetails
from fitcli.tasks.detect.curves import froc_curve, precision_recall_curve
from fitcli.tasks.detect.detect_image import detect_image
from fitcli.tasks.detect.detection_scores import FROC_RATES, ImageMatches, class_precisions, counts_at, froc, pooled
from fitcli.tasks.detect.detections import Detections
from fitcli.tasks.detect.matching import FALSE, TRUE, Matches
from fitcli.tasks.task_report import LONGEST_SIDE, Scored
from models.dense import FITDense

RIGHT, WRONG, MISSED = (60, 160, 255), (240, 70, 40), (255, 215, 0)
"""Colours of right, false and missed objects."""

MOST_CROPS, CROP_SIDE = 4, 96
"""Most crops of false objects and of missed ones of an image, and their side in pixels of the report."""

CONTEXT, LEAST_CROP = 2.0, 48
"""Side of a crop by that of its object, and its least side, in pixels of the image."""

POINT_REACH = 4.0
"""Half of the side of the square that marks a point or a tiny box, in pixels of the report."""

MOST_DRAWN = 3000
"""Most objects of a kind that are drawn on an image."""

MOST_CURVES = 6
"""Most classes whose precision is drawn: those with the most true objects."""


class JudgedObjects(NamedTuple):
    """The objects of an image by what became of them.

    Attributes:
        right, false, missed: Boxes (left, top, right, bottom) [n 4] in pixels; the false ones by falling score.
        false_scores: Scores of the false ones.
        false_numbers, missed_numbers: Their class numbers.
    """

    right: Floats
    false: Floats
    missed: Floats
    false_scores: Floats
    false_numbers: Integers
    missed_numbers: Integers


class DetectionReport(Assessment[FITDense]):
    """Shows a detector; see `TaskReport` and `Assessment` for the members."""

    @property
    def threshold(self) -> float:
        """Least score of the objects that are counted."""
        return cast(DetectDetails, self.checkpoint.config.details).threshold

    def sections(self, scored: Scored) -> list[Section]:
        """Return FROC, and precision by recall of the classes."""
        images = [ImageMatches.of_row(row) for _, row in scored]
        matches, names = pooled(images), self.checkpoint.config.classes
        curve, rates = froc_curve(matches, len(images)), froc(matches, len(images))
        places = [rates[f"{rate:g}"] for rate in FROC_RATES]
        chart = Chart(
            title="FROC", x="false objects per image", y="sensitivity", y_range=(0.0, 1.0),
            x_range=(0.0, max(FROC_RATES)),
            series=[ChartSeries("all classes", *_within(curve.x, curve.y, max(FROC_RATES)), "steps", 0),
                    ChartSeries(f"read for the mean of {rates['mean']:.3f}", FROC_RATES, places, "points", 1)],
        )  # fmt: skip
        precision = Chart(
            title="Precision and recall", x="recall", y="precision", series=self._precisions(matches, names),
            x_range=(0.0, 1.0), y_range=(0.0, 1.0),
        )  # fmt: skip
        return [Section("Found objects", [chart, precision])]

    def badness(self, sample: Sample, row: list[float]) -> float:
        """Return the number of false and missed objects at the threshold."""
        counts = counts_at(ImageMatches.of_row(row).matches, self.threshold)
        return float(counts.found - counts.right + counts.true - counts.right)

    def case(self, image: ImageReader, sample: Sample, row: list[float] | None = None) -> Case:
        """Return an image with its right, false and missed objects, and crops of the latter two."""
        config = self.checkpoint.config
        found = detect_image(self.checkpoint, image, self.runtime, self.settings, purpose="evaluate", warns=False).found
        found = found.take(found.scores >= self.threshold)
        if sample.target is None:
            view = _with_boxes(image, [(RIGHT, found.boxes.astype(np.float64))])
            return Case(
                str(sample.path), f"{counted(len(found), 'object')} found; no truth is known", [Picture(view, "found")]
            )
        objects = place_objects(sample.target, image, config.classes)
        judged = judge(found, objects, ImageMatches.of(found, objects, config).matches)
        view = _with_boxes(image, [(MISSED, judged.missed), (WRONG, judged.false), (RIGHT, judged.right)])
        crops = [
            _crop(image, box, WRONG, f"false: {config.classes[number]} {score:.2f}")
            for box, number, score in zip(
                judged.false[:MOST_CROPS], judged.false_numbers, judged.false_scores, strict=False
            )
        ]
        crops += [
            _crop(image, box, MISSED, f"missed: {config.classes[number]}")
            for box, number in zip(judged.missed[:MOST_CROPS], judged.missed_numbers, strict=False)
        ]
        text = f"{len(judged.right)} right, {len(judged.false)} false, {len(judged.missed)} missed"
        return Case(str(sample.path), text, [Picture(view, "found objects and missed ones"), *crops])

    def samples(self) -> Iterator[Picture]:
        """Yield nothing."""
        return iter(())

    def colors(self) -> list[tuple[RGB, str]]:
        """Return the colours of objects."""
        return [(RIGHT, "right"), (WRONG, "false"), (MISSED, "missed")]

    def _precisions(self, matches: Matches, names: tuple[str, ...]) -> list[ChartSeries]:
        areas = class_precisions(matches, len(names))[:, 0]
        counts = np.bincount(matches.true_numbers.astype(np.int64), minlength=len(names))
        drawn = sorted(np.argsort(-counts, kind="stable")[:MOST_CURVES].tolist())
        series = []
        for number in drawn:
            curve = precision_recall_curve(matches, number)
            if len(curve.x):
                name = f"{names[number]}: AP {areas[number]:.3f}"
                series.append(ChartSeries(name, curve.x.tolist(), curve.y.tolist()))
        return series


def judge(found: Detections, objects: PlacedObjects, matches: Matches) -> JudgedObjects:
    """Return which objects are right, false and missed.

    Args:
        found: Found objects.
        objects: True objects.
        matches: Their matches, by falling score; the first threshold of overlap decides.
    """
    order, kinds = np.argsort(-found.scores, kind="stable"), matches.kinds[:, 0]
    found = found.take(order)
    boxes, free = found.boxes.astype(np.float64), np.ones(len(objects.boxes), bool)
    for number in np.flatnonzero(kinds == TRUE).tolist():
        # The best of the true objects that no better one has taken, as in matching.
        own = np.flatnonzero(free & (objects.numbers == found.numbers[number]))
        free[own[_likeness(boxes[number], objects.boxes[own]).argmax()]] = False
    counts = objects.counted_points((objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2)
    missed, false = free & counts, kinds == FALSE
    return JudgedObjects(
        boxes[kinds == TRUE], boxes[false], objects.boxes[missed], found.scores[false].astype(np.float64),
        found.numbers[false].astype(np.int64), objects.numbers[missed],
    )  # fmt: skip


def _likeness(box: Floats, others: Floats) -> Floats:
    """Return the overlap (IoU) of a box with others [n]; of points, the negative distance."""
    corners = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (corners[1] - corners[0]).clip(0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared
    distance: Floats = np.linalg.norm((box[:2] + box[2:] - others[:, :2] - others[:, 2:]) / 2, axis=1)
    return np.where(union > 0, shared / np.where(union > 0, union, 1), -distance)


def _within(x: Floats, y: Floats, most: float) -> tuple[list[float], list[float]]:
    """Return the points of a curve of steps up to a place, and its height there."""
    inside = x <= most
    return [*x[inside].tolist(), most], [*y[inside].tolist(), float(y[inside][-1])]


def _with_boxes(image: ImageReader, kinds: list[tuple[RGB, Floats]]) -> NDArray[np.uint8]:
    """Return a small view of an image with boxes in colours; the last ones are on top."""
    view = small_view(image, LONGEST_SIDE).copy()
    factor = view.shape[1] / image.info.width
    for color, boxes in kinds:
        draw_lines(view, [_outline(box * factor) for box in boxes[:MOST_DRAWN]], color, 1.5)
    return view


def _crop(image: ImageReader, box: Floats, color: RGB, caption: str) -> Picture:
    """Return the surroundings of an object."""
    left, top, right, bottom = box.tolist()
    side = round(max(LEAST_CROP, CONTEXT * max(right - left, bottom - top)))
    first, start = (
        round(min(max(0.0, (low + high - side) / 2), max(0, length - side)))
        for low, high, length in ((top, bottom, image.info.height), (left, right, image.info.width))
    )
    window = Window(first, start, side, side).clip(*image.info.size)
    small = small_view(image, CROP_SIDE, window)
    enlarged = max(1, CROP_SIDE // max(small.shape[:2]))
    view = small.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    factor = view.shape[1] / window.width
    draw_lines(view, [_outline((box - [window.left, window.top, window.left, window.top]) * factor)], color, 1.5)
    return Picture(view, caption, crop=True)


def _outline(box: Floats) -> Floats:
    """Return the corners of a box, one after the other; a point or a tiny box becomes a small square."""
    left, top, right, bottom = box.tolist()
    if right - left < POINT_REACH / 2 and bottom - top < POINT_REACH / 2:
        x, y = (left + right) / 2, (top + bottom) / 2
        left, top, right, bottom = x - POINT_REACH, y - POINT_REACH, x + POINT_REACH, y + POINT_REACH
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])
