"""Scores of classifiers by their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcli.tasks.classify.scores import BINS, classification_scores, multi_label_scores


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10_000))
@settings(max_examples=30)
def test_scores_are_their_definitions(classes: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random((images, classes)) + 0.01
    # In sixteenths, so that some are equal.
    probabilities = np.floor(16 * weights / weights.sum(1, keepdims=True)) / 16
    probabilities[:, 0] += 1 - probabilities.sum(1)
    labels = rng.integers(0, classes, images)
    found = classification_scores(probabilities, labels)
    predicted = probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == labels).mean())
    recalls = [(predicted[labels == k] == k).mean() for k in np.unique(labels)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    confusion = np.zeros((classes, classes), int)
    for label, prediction in zip(labels, predicted, strict=True):
        confusion[label, prediction] += 1
    assert found["confusion"] == confusion.tolist()
    likelihood = np.maximum(probabilities[np.arange(images), labels], 1e-12)
    assert found["loss"] == pytest.approx(-np.log(likelihood).mean())
    areas = [area(probabilities[labels == k, k], probabilities[labels != k, k]) for k in np.unique(labels)]
    assert found["auroc"] == (None if len(areas) == 1 else pytest.approx(np.mean(areas)))


def area(own: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> float:
    """The probability that an image of a class gets a higher score than another one; a half where they tie."""
    return float(np.mean([(mine > other) + 0.5 * (mine == other) for mine in own for other in others] or [0]))


def test_calibration_error_weighs_the_gaps_of_its_bins() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 500)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = (rng.random(500) > confidence**2).astype(np.int64)
    right, error = labels == 0, 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert error > 0.1
    assert classification_scores(probabilities, labels)["calibration_error"] == pytest.approx(error, abs=1e-6)


def test_scores_of_several_labels() -> None:
    probabilities = np.array([[0.9, 0.6], [0.2, 0.7], [0.4, 0.8]])
    held = np.array([[True, True], [False, False], [True, True]])
    found = multi_label_scores(probabilities, held)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["class_accuracy"] == pytest.approx(4 / 6)
    assert found["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    expected = -np.log([0.9, 0.6, 0.8, 0.3, 0.4, 0.8]).mean()
    assert found["loss"] == pytest.approx(expected)
