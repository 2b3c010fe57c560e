"""Average precision equals that of pycocotools with large limits; the threshold of the best F1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.detect_models import found_of, objects_of, random_boxes

from fitcli.tasks.detect.average_precision import average_precision, best_threshold
from fitcli.tasks.detect.detection_scores import ImageMatches, class_precisions, pooled
from fitcli.tasks.detect.matching import FALSE, LEFT_OUT, TRUE, match_boxes

IMAGES, KINDS = 3, 2


def case(seed: int) -> list[tuple[Any, Any]]:
    """Found and true objects of some images, with crowds and equal scores."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(IMAGES):
        count = int(rng.integers(0, 12))
        boxes = random_boxes(rng, count, 40).clip(0, 60)
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
        found = np.concatenate([boxes + rng.normal(0, 1.2, boxes.shape), random_boxes(rng, 6, 40)]).round(2)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 0.5)
        crowds = random_boxes(rng, int(rng.integers(0, 2)), 40, 15)
        objects = objects_of(
            boxes, rng.integers(0, KINDS, len(boxes)), crowds, rng.integers(0, KINDS, len(crowds))
        )  # fmt: skip
        scores = rng.integers(1, 20, len(found)) / 20
        images.append((found_of(found, scores, rng.integers(0, KINDS, len(found))), objects))
    return images


def slow_ap(images: list[tuple[Any, Any]], kind: int, threshold: float) -> float:
    """The mean precision at 101 recalls of one class, as COCO accumulates it."""
    rows, true = [], 0
    for found, objects in images:
        true += int((objects.numbers == kind).sum())
        matches = match_boxes(found, objects, (threshold,))
        rows += [
            (score, state) for score, state, number in zip(
                matches.scores.tolist(), matches.kinds[:, 0].tolist(), matches.numbers.tolist(), strict=True)
            if number == kind
        ]  # fmt: skip
    if not true:
        return float("nan")
    rows.sort(key=lambda row: -row[0])
    hits = slips = 0
    curve = []
    for _, state in rows:
        hits, slips = hits + (state == TRUE), slips + (state == FALSE)
        curve.append((hits / true, hits / (hits + slips + np.spacing(1))))
    total = 0.0
    for recall in np.linspace(0, 1, 101):
        total += max((precision for reached, precision in curve if reached >= recall), default=0.0)
    return total / 101


@pytest.mark.walk(12)
@pytest.mark.parametrize("seed", range(50))
def test_equal_to_an_obvious_version(seed: int) -> None:
    images = case(seed)
    result = class_precisions(pooled([ImageMatches(match_boxes(*image)) for image in images]), KINDS)
    for kind in range(KINDS):
        for column, threshold in ((0, 0.5), (5, 0.75), (9, 0.95)):
            expected = slow_ap(images, kind, threshold)
            assert result[kind, column] == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(50))
def test_equal_to_pycocotools(seed: int) -> None:
    """Its accumulated precision with limits far above the numbers of objects."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    images, annotations, detections = case(seed), [], []
    for number, (found, objects) in enumerate(images):
        for crowd, boxes, kinds in ((0, objects.boxes, objects.numbers), (1, objects.crowds, objects.crowd_numbers)):
            for box, kind in zip(boxes.tolist(), kinds.tolist(), strict=True):
                sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "category_id": kind, "bbox": sides,
                     "iscrowd": crowd, "area": sides[2] * sides[3]}
                )  # fmt: skip
        for box, score, kind in zip(found.boxes.tolist(), found.scores.tolist(), found.numbers.tolist(), strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            detections.append({"image_id": number, "category_id": kind, "bbox": sides, "score": score})
    truth = coco.COCO()
    truth.dataset = {
        "images": [{"id": number, "width": 99, "height": 99} for number in range(IMAGES)],
        "annotations": annotations, "categories": [{"id": kind, "name": str(kind)} for kind in range(KINDS)],
    }  # fmt: skip
    truth.createIndex()
    theirs = evaluation.COCOeval(truth, truth.loadRes(detections), "bbox")
    theirs.params.maxDets = [1, 10, 10**5]
    theirs.evaluate()
    theirs.accumulate()
    precision = theirs.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
    mine = class_precisions(pooled([ImageMatches(match_boxes(*image)) for image in images]), KINDS)
    for kind in range(KINDS):
        if (precision[:, :, kind] == -1).all():
            assert np.isnan(mine[kind]).all()
        else:
            np.testing.assert_allclose(mine[kind], precision[:, :, kind].mean(axis=1), rtol=0, atol=1e-9)


def test_there_is_no_limit_on_the_objects_of_an_image() -> None:
    """480 perfect ones score 1; with the limit of 100 of COCO they would score 0.21."""
    scores = np.linspace(1, 0.5, 480, dtype=np.float32)
    assert average_precision(scores, np.full((480, 1), TRUE, np.uint8), 480)[0] == pytest.approx(1)


def test_nothing() -> None:
    none = np.empty(0, np.float32), np.empty((0, 2), np.uint8)
    assert np.isnan(average_precision(*none, 0)).all()
    assert average_precision(*none, 3).tolist() == [0, 0]


def test_the_threshold_of_the_best_f1() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    kinds = np.array([TRUE, TRUE, LEFT_OUT, FALSE, TRUE], np.uint8)
    best = best_threshold(scores, kinds, 2, 0.3)
    assert (best.threshold, best.f1) == (pytest.approx(0.7), 1.0)
    assert best_threshold(scores, np.full(5, FALSE, np.uint8), 2, 0.3) == (0.3, 0.0)
    assert best_threshold(scores[:0], kinds[:0], 0, 0.3) == (0.3, 0.0)
    equal = best_threshold(np.array([0.5, 0.5], np.float32), np.array([TRUE, FALSE], np.uint8), 1, 0.3)
    assert equal.threshold == pytest.approx(0.25)
    assert equal.f1 == pytest.approx(2 / 3)
