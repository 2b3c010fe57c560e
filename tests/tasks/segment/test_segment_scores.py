"""The scores over images follow from the counts of each, whatever the strips."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_f1_score,
    multiclass_jaccard_index,
    multiclass_precision,
    multiclass_recall,
)

from fitcli.tasks.segment.boundary import count_boundaries
from fitcli.tasks.segment.confusion import IGNORED
from fitcli.tasks.segment.segment_scores import ImageScores, median_with_interval, summarize

NAMES = ("water", "road", "field", "roof")
K = len(NAMES)


def pictures(count: int, classes: int = K) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(count)
    found = []
    for number in range(count):
        truth = np.kron(rng.integers(0, classes, (6, 7)), np.ones((8, 8), int)).astype(np.uint8)
        predicted = np.roll(truth, 1 + number % 3, 0)
        predicted[rng.random(truth.shape) < 0.05] = rng.integers(0, classes)
        truth[:, :6] = IGNORED
        found.append((truth, predicted))
    return found


def counts(images: list[tuple[np.ndarray, np.ndarray]]) -> list[list[float]]:
    return [ImageScores.of([image], K, 2) for image in images]


def test_scores_are_those_of_torchmetrics() -> None:
    images = pictures(5)
    scores = summarize(counts(images), NAMES)
    truth, predicted = (torch.tensor(np.stack(each).astype(int)) for each in zip(*images, strict=True))
    for name, score in (
        ("iou", multiclass_jaccard_index), ("dice", multiclass_f1_score),
        ("precision", multiclass_precision), ("recall", multiclass_recall),
    ):  # fmt: skip
        expected = score(predicted, truth, K, average="none", ignore_index=IGNORED)
        mine = [scores["per_class"][each][name] for each in NAMES]
        assert mine == pytest.approx(expected.tolist())
    labelled = truth != IGNORED
    assert scores["accuracy"] == pytest.approx(float((truth == predicted)[labelled].double().mean()))
    assert scores["labelled_pixels"] == int(labelled.sum())
    assert scores["mean_iou"] == pytest.approx(np.mean([each["iou"] for each in scores["per_class"].values()]))
    weights = [each["pixels"] for each in scores["per_class"].values()]
    ious = [each["iou"] for each in scores["per_class"].values()]
    assert scores["frequency_weighted_iou"] == pytest.approx(np.average(ious, weights=weights))


def test_the_boundary_f_is_the_harmonic_mean_of_the_hits() -> None:
    images = pictures(3)
    scores = summarize(counts(images), NAMES)
    total = sum(count_boundaries([image], K, 2) for image in images)
    for (true, true_hits, found, found_hits), name in zip(total.tolist(), NAMES, strict=True):
        recall, precision = true_hits / true, found_hits / found
        expected = 2 * recall * precision / (recall + precision)
        assert scores["per_class"][name]["boundary_f"] == pytest.approx(expected)
    perfect = summarize([ImageScores.of([(truth, truth)], K, 0) for truth, _ in images], NAMES)
    assert perfect["mean_boundary_f"] == perfect["mean_iou"] == perfect["accuracy"] == 1


@pytest.mark.parametrize("rows", [1, 7, 20, 48])
def test_strips_give_the_numbers_of_the_whole_image(rows: int) -> None:
    truth, predicted = pictures(1)[0]
    strips = [(truth[top : top + rows], predicted[top : top + rows]) for top in range(0, len(truth), rows)]
    row = ImageScores.of(iter(strips), K, 3)
    assert row == ImageScores.of([(truth, predicted)], K, 3)
    assert all(isinstance(value, float) and value.is_integer() for value in row)
    assert json.loads(json.dumps(row)) == row


def test_scores_without_pixels_are_none() -> None:
    """Class 0 occurs and is never found; 1 occurs; 2 is found and does not occur; 3 is nowhere."""
    truth, predicted = np.array([[0, 0, 1, 1, IGNORED]], np.uint8), np.array([[1, 2, 1, 1, 3]], np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = summarize([ImageScores.of([(truth, predicted)], K, 0)], NAMES)
        nothing = summarize([ImageScores.of([(np.full_like(truth, IGNORED), predicted)], K, 0)], NAMES)
    water, road, field, roof = (scores["per_class"][name] for name in NAMES)
    assert (water["iou"], water["recall"], water["precision"]) == (0, 0, None)
    assert road["iou"] == pytest.approx(2 / 3)
    assert (field["iou"], field["dice"], field["recall"], field["precision"]) == (None, None, None, 0)
    assert set(roof.values()) == {0, None}
    assert scores["absent_classes"] == ["field", "roof"]
    assert scores["mean_iou"] == pytest.approx((0 + 2 / 3) / 2)
    # The prediction has no boundary of class 0.
    assert water["boundary_f"] == 0
    assert nothing["mean_iou"] is nothing["accuracy"] is nothing["dice_per_image"]["median"] is None
    assert nothing["labelled_pixels"] == 0
    for document in (scores, nothing):
        json.dumps(document, allow_nan=False)


def test_what_was_not_looked_at_counts_as_wrong() -> None:
    truth, predicted = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    predicted[:2] = IGNORED
    scores = summarize([ImageScores.of([(truth, predicted)], K, 0)], NAMES)
    assert scores["accuracy"] == scores["per_class"]["water"]["iou"] == 0.5
    assert scores["per_class"]["water"]["precision"] == 1
    assert scores["not_looked_at"] == [8, 0, 0, 0]
    assert scores["confusion"][0] == [8, 0, 0, 0]


def test_dice_per_image_leaves_out_images_without_labels() -> None:
    images = pictures(9)
    images[0] = (np.full_like(images[0][0], IGNORED), images[0][1])
    found = summarize(counts(images), NAMES)["dice_per_image"]
    each = [ImageScores.read(row, K).dice() for row in counts(images[1:])]
    assert found["images"] == 8
    assert found["median"] == pytest.approx(float(np.median(each)))
    assert min(each) <= found["low"] <= found["median"] <= found["high"] <= max(each)


def test_the_interval_of_the_median_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(60):
        found = median_with_interval(rng.uniform(0, 1, 40).tolist())
        covered.append(found["low"] <= 0.5 <= found["high"])
    assert 0.85 <= np.mean(covered) <= 1
    assert median_with_interval([0.25, 0.5]) == median_with_interval([0.25, 0.5])
