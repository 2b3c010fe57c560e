"""Matches found objects with true ones, as COCO does, without a limit on their number.

Found objects of a class are taken in the order of their scores. Each takes the true object that it overlaps most, of
those that no better one has taken and that it overlaps by the threshold. One without a true object is left out if it
lies in a crowd, or where nothing counts. (Lin et al. 2014, arXiv:1405.0312, and the evaluation code of COCO.)
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.objects.box_pairs import BoxBins
from fitcli.annotations.objects.placed_objects import PlacedObjects
from fitcli.tasks.detect.cell_layout import Integers
from fitcli.tasks.detect.detections import Detections

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""Overlaps (IoU) above which a found object is right."""

FALSE, TRUE, LEFT_OUT = 0, 1, 2
"""What a found object is."""


class Matches(NamedTuple):
    """The found objects of an image, by score from the greatest.

    Attributes:
        scores: Scores, [n].
        numbers: Class numbers, [n].
        sides: Sides of the objects in pixels, the geometric means; of those that are right, of the true object; [n].
        kinds: Whether they are right by each threshold: `FALSE`, `TRUE` or `LEFT_OUT`, [n t] uint8.
        true_numbers: Class numbers of the true objects that count, [m].
        true_sides: Their sides, [m].
    """

    scores: NDArray[np.float32]
    numbers: Integers
    sides: Floats
    kinds: NDArray[np.uint8]
    true_numbers: Integers
    true_sides: Floats


class Partners(NamedTuple):
    """True objects that found ones may be: pairs, sorted by the found one.

    Attributes:
        found, true: Numbers of the objects of each pair.
        likeness: How well they agree; greater is better.
    """

    found: Integers
    true: Integers
    likeness: Floats


def match_boxes(found: Detections, objects: PlacedObjects, thresholds: tuple[float, ...] = THRESHOLDS) -> Matches:
    """Match boxes by their overlap."""
    order = np.argsort(-found.scores, kind="stable")
    found = found.take(order)
    boxes, numbers = found.boxes.astype(np.float64), found.numbers.astype(np.int64)
    partners = _overlapping(boxes, numbers, objects.boxes, objects.numbers, min(thresholds))
    taken, kinds = _assign(partners, len(found), len(objects.boxes), thresholds)
    crowded = _in_crowds(boxes, numbers, objects)
    left_out = np.array([[share >= limit for limit in thresholds] for share in crowded], np.bool_).reshape(kinds.shape)
    left_out |= ~objects.counted_points((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    kinds[(kinds == FALSE) & left_out] = LEFT_OUT
    true_sides = sides_of(objects.boxes)
    sides = np.where(taken >= 0, true_sides[taken] if len(true_sides) else 0, sides_of(boxes))
    return Matches(found.scores, numbers, sides, kinds, objects.numbers, true_sides)


def match_points(found: Detections, objects: PlacedObjects, radius: float) -> Matches:
    """Match points by their distance: at most `radius` pixels."""
    order = np.argsort(-found.scores, kind="stable")
    found = found.take(order)
    points, numbers = found.boxes[:, :2].astype(np.float64), found.numbers.astype(np.int64)
    partners = _near(points, numbers, objects.boxes[:, :2], objects.numbers, radius)
    _, kinds = _assign(partners, len(found), len(objects.boxes), (0.0,))
    kinds[(kinds == FALSE) & ~objects.counted_points(points)[:, None]] = LEFT_OUT
    return Matches(found.scores, numbers, np.zeros(len(found)), kinds, objects.numbers, np.zeros(len(objects.numbers)))


def sides_of(boxes: Floats) -> Floats:
    """Return the sides of boxes: the geometric means of width and height."""
    sides: Floats = np.sqrt((boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1))
    return sides


def _overlapping(boxes: Floats, numbers: Integers, others: Floats, other_numbers: Integers, least: float) -> Partners:
    if not len(boxes) or not len(others):
        return _sorted([])
    bins = BoxBins.of(others, other_numbers, least)
    pairs = bins.pairs(BoxBins.of(boxes, numbers, least))
    return _sorted([(found, true, overlaps) for true, found, overlaps in pairs])


def _near(points: Floats, numbers: Integers, others: Floats, other_numbers: Integers, radius: float) -> Partners:
    """Return pairs of points of one class within a distance: boxes of that half side overlap by a ninth at least."""
    if not len(points) or not len(others):
        return _sorted([])
    grown = [np.concatenate([each - radius, each + radius], axis=1) for each in (points, others)]
    bins = BoxBins.of(grown[1], other_numbers, 1 / 9)
    parts = []
    for true, found, _ in bins.pairs(BoxBins.of(grown[0], numbers, 1 / 9)):
        away = np.hypot(*(points[found] - others[true]).T)
        near = away <= radius
        parts.append((found[near], true[near], 1 - away[near] / radius))
    return _sorted(parts)


def _sorted(parts: list[tuple[Integers, Integers, Floats]]) -> Partners:
    empty = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    found, true, likeness = map(np.concatenate, zip(empty, *parts, strict=True))
    order = np.lexsort((true, found))
    return Partners(found[order], true[order], likeness[order])


def _assign(
    partners: Partners, found: int, true: int, thresholds: tuple[float, ...]
) -> tuple[Integers, NDArray[np.uint8]]:
    """Return the true object that each found one takes by the first threshold, or -1, and what each is, [n t]."""
    kinds, first = np.zeros((found, len(thresholds)), np.uint8), np.full(found, -1, np.int64)
    starts = np.flatnonzero(np.diff(partners.found, prepend=-1))
    edges = [*starts.tolist(), len(partners.found)]
    pairs = list(zip(partners.true.tolist(), partners.likeness.tolist(), strict=True))
    rows = [(int(partners.found[start]), pairs[start:stop]) for start, stop in pairwise(edges)]
    for column, threshold in enumerate(thresholds):
        free = bytearray(b"\1" * true)
        least = min(threshold, 1 - 1e-10)
        for one, candidates in rows:
            best, chosen = least, -1
            for other, likeness in candidates:
                # Of equal ones, the last.
                if free[other] and likeness >= best:
                    best, chosen = likeness, other
            if chosen >= 0:
                free[chosen], kinds[one, column] = 0, TRUE
                if column == 0:
                    first[one] = chosen
    return first, kinds


def _in_crowds(boxes: Floats, numbers: Integers, objects: PlacedObjects) -> Floats:
    """Return the greatest share of the area of each box that lies in a crowd of its class."""
    shares = np.zeros(len(boxes))
    for crowd, number in zip(objects.crowds, objects.crowd_numbers.tolist(), strict=True):
        sides = np.minimum(boxes[:, 2:], crowd[2:]) - np.maximum(boxes[:, :2], crowd[:2])
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        share = np.divide(sides.clip(0).prod(axis=1), areas, out=np.zeros(len(boxes)), where=areas > 0)
        shares = np.where(numbers == number, np.maximum(shares, share), shares)
    return shares
