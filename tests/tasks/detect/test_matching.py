"""Matches of boxes as COCO's evaluation has them, against its loops; points by distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.detect_models import found_of, objects_of, overlap, random_boxes
from support.polygons import packed, square

from fitcli.annotations.objects import box_pairs
from fitcli.tasks.detect.matching import FALSE, LEFT_OUT, THRESHOLDS, TRUE, match_boxes, match_points


def slow(found: Any, objects: Any, threshold: float) -> list[int]:
    """What each found object is, by score, as the evaluation code of COCO decides."""
    order = np.argsort(-found.scores, kind="stable").tolist()
    taken: set[int] = set()
    kinds = []
    for one in order:
        best, chosen = min(threshold, 1 - 1e-10), -1
        for other in range(len(objects.boxes)):
            if other in taken or objects.numbers[other] != found.numbers[one]:
                continue
            share = overlap(found.boxes[one].astype(float), objects.boxes[other])
            if share >= best:
                best, chosen = share, other
        if chosen >= 0:
            taken.add(chosen)
            kinds.append(TRUE)
            continue
        left = False
        for crowd, number in zip(objects.crowds, objects.crowd_numbers, strict=True):
            box = found.boxes[one].astype(float)
            width = min(box[2], crowd[2]) - max(box[0], crowd[0])
            height = min(box[3], crowd[3]) - max(box[1], crowd[1])
            area = (box[2] - box[0]) * (box[3] - box[1])
            left |= number == found.numbers[one] and max(width, 0) * max(height, 0) / area >= threshold
        kinds.append(LEFT_OUT if left else FALSE)
    return kinds


@pytest.mark.walk(8)
@pytest.mark.parametrize("seed", range(25))
def test_equal_to_the_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 3 == 0:
        monkeypatch.setattr(box_pairs, "COMPARED_AT_ONCE", 40)
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 30, 40)
    near = np.concatenate([boxes + rng.normal(0, 1, boxes.shape), random_boxes(rng, 15, 40)])
    near = np.stack([near[:, [0, 2]].min(1), near[:, [1, 3]].min(1), near[:, [0, 2]].max(1), near[:, [1, 3]].max(1)], 1)
    objects = objects_of(boxes, rng.integers(0, 2, 30), random_boxes(rng, 2, 40, 20), rng.integers(0, 2, 2))
    found = found_of(near, rng.integers(0, 15, 45) / 15, rng.integers(0, 2, 45))
    result = match_boxes(found, objects)
    assert np.array_equal(result.scores, np.sort(found.scores)[::-1])
    for column, threshold in enumerate(THRESHOLDS):
        assert result.kinds[:, column].tolist() == slow(found, objects, threshold)
    assert (result.kinds == TRUE).any()


def test_what_lies_where_nothing_counts_is_left_out() -> None:
    objects = objects_of([(0, 0, 5, 5)], ignored=packed([square(20, 20, 10)]))
    found = found_of([(0, 0, 5, 5), (21, 21, 25, 25), (40, 40, 45, 45)], [0.9, 0.8, 0.7])
    assert match_boxes(found, objects).kinds[:, 0].tolist() == [TRUE, LEFT_OUT, FALSE]


def test_sides_of_right_ones_are_those_of_the_true_objects() -> None:
    result = match_boxes(found_of([(0, 0, 5, 5), (50, 50, 54, 59)], [0.9, 0.8]), objects_of([(0, 0, 4, 6.25)]))
    assert result.sides.tolist() == pytest.approx([5, 6])
    assert result.true_sides.tolist() == [5]


def test_points_by_distance() -> None:
    objects = objects_of([(10, 10, 10, 10), (30, 10, 30, 10)], [0, 1])
    found = found_of(
        [(13, 14, 13, 14), (10, 11, 10, 11), (30, 10, 30, 10), (16, 10, 16, 10)], [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0]
    )
    assert match_points(found, objects, 5.0).kinds[:, 0].tolist() == [TRUE, FALSE, FALSE, FALSE]
    assert match_points(found, objects, 4.9).kinds[:, 0].tolist() == [FALSE, TRUE, FALSE, FALSE]


def test_nothing_found_and_nothing_there() -> None:
    none = found_of([], [])
    assert match_boxes(none, objects_of([(0, 0, 5, 5)])).kinds.shape == (0, 10)
    assert match_boxes(found_of([(0, 0, 5, 5)], [0.5]), objects_of([])).kinds.tolist() == [[FALSE] * 10]
    assert match_points(none, objects_of([]), 3.0).kinds.shape == (0, 1)
