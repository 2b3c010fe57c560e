"""Curves equal what slow and obvious loops give, and their areas those of the scores."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.classify.curves import average_precision, kaplan_meier, precision_recall, reliability, roc
from fitcli.tasks.classify.scores import classification_scores
from fitcli.tasks.classify.thresholds import area_under_roc


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities, some of them equal, and whether the class holds."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 60))
    probabilities = rng.integers(0, 12, count) / 11
    held = rng.random(count) < 0.2 + 0.6 * probabilities
    held[:2] = True, False
    return probabilities, held


@pytest.mark.parametrize("seed", range(20))
def test_points_equal_those_of_every_threshold(seed: int) -> None:
    probabilities, held = drawn(seed)
    false_rates, rates, recalls, precisions = [0.0], [0.0], [], []
    for threshold in sorted(set(probabilities.tolist()), reverse=True):
        found = probabilities >= threshold
        false_rates.append((found & ~held).sum() / (~held).sum())
        rates.append((found & held).sum() / held.sum())
        recalls.append((found & held).sum() / held.sum())
        precisions.append((found & held).sum() / found.sum())
    np.testing.assert_allclose(roc(probabilities, held).x, false_rates)
    np.testing.assert_allclose(roc(probabilities, held).y, rates)
    np.testing.assert_allclose(precision_recall(probabilities, held).x, recalls)
    np.testing.assert_allclose(precision_recall(probabilities, held).y, precisions)
    expected = sum((r - before) * p for r, before, p in zip(recalls, [0.0, *recalls], precisions, strict=False))
    assert average_precision(probabilities, held) == pytest.approx(expected)
    area = np.trapezoid(roc(probabilities, held).y, roc(probabilities, held).x)
    assert area == pytest.approx(area_under_roc(probabilities, held))


@pytest.mark.parametrize("seed", range(10))
def test_points_equal_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    probabilities, held = drawn(seed)
    x, y, _ = metrics.roc_curve(held, probabilities, drop_intermediate=False)
    np.testing.assert_allclose(np.stack(roc(probabilities, held)), np.stack([x, y]))
    precision, recall, _ = metrics.precision_recall_curve(held, probabilities)
    np.testing.assert_allclose(precision_recall(probabilities, held).y, precision[:-1][::-1])
    np.testing.assert_allclose(precision_recall(probabilities, held).x, recall[:-1][::-1])
    assert average_precision(probabilities, held) == pytest.approx(metrics.average_precision_score(held, probabilities))


def test_a_missing_class_has_no_curve() -> None:
    for held in (np.zeros(3, bool), np.ones(3, bool)):
        assert not len(roc(np.array([0.1, 0.2, 0.3]), held).x)
    assert average_precision(np.array([0.1]), np.array([False])) is None


@pytest.mark.parametrize("seed", range(10))
def test_the_error_of_the_reliability_is_that_of_the_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (200, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    probabilities[:5] = np.eye(4)[rng.integers(0, 4, 5)]
    labels = rng.integers(0, 4, 200)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    found = reliability(confidence, right)
    assert found.images.sum() == 200
    assert found.error == pytest.approx(classification_scores(probabilities, labels)["calibration_error"], abs=1e-6)


def test_survival_falls_at_events_alone() -> None:
    times, events = np.array([1.0, 2, 2, 3, 4]), np.array([True, True, False, False, True])
    curve = kaplan_meier(times, events)
    np.testing.assert_allclose(curve.x, [0, 1, 2, 3, 4])
    np.testing.assert_allclose(curve.y, [1, 4 / 5, 4 / 5 * 3 / 4, 3 / 5, 0])
