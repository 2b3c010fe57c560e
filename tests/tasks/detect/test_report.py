"""Objects are judged as in matching: what is not right is false, and true objects that nothing took are missed."""

from __future__ import annotations

import numpy as np
import pytest
from support.detect_models import found_of, objects_of, random_boxes

from fitcli.tasks.detect.matching import FALSE, TRUE, match_boxes, match_points
from fitcli.tasks.detect.report import judge


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("points", [False, True])
def test_numbers_are_those_of_matching(seed: int, points: bool) -> None:
    rng = np.random.default_rng(seed)
    true = random_boxes(rng, int(rng.integers(0, 20)), 80)
    found = np.concatenate([true + rng.normal(0, 0.8, true.shape), random_boxes(rng, 8, 80)])
    if points:
        true[:, 2:], found[:, 2:] = true[:, :2], found[:, :2]
    objects = objects_of(true, rng.integers(0, 2, len(true)))
    detections = found_of(found, rng.permutation(len(found)) / len(found), rng.integers(0, 2, len(found)))
    matches = match_points(detections, objects, 3.0) if points else match_boxes(detections, objects)
    judged = judge(detections, objects, matches)
    assert len(judged.right) == (matches.kinds[:, 0] == TRUE).sum()
    assert len(judged.false) == (matches.kinds[:, 0] == FALSE).sum() == len(judged.false_scores)
    assert len(judged.right) + len(judged.missed) == len(true)
    assert (np.diff(judged.false_scores) <= 0).all()


def test_the_missed_object_is_the_one_that_nothing_overlaps() -> None:
    objects = objects_of([[0, 0, 10, 10], [50, 50, 60, 60]])
    detections = found_of([[1, 0, 10, 10], [0, 0, 9, 10], [80, 80, 90, 90]], [0.9, 0.8, 0.7])
    judged = judge(detections, objects, match_boxes(detections, objects))
    assert judged.missed.tolist() == [[50, 50, 60, 60]]
    assert judged.right.tolist() == [[1, 0, 10, 10]]
    assert judged.false.tolist() == [[0, 0, 9, 10], [80, 80, 90, 90]]
