"""Scores at thresholds with intervals, and probabilities of patients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.data.dataset import Sample
from fitcli.runs.targets import Target
from fitcli.tasks.classify.decisions import decision_document, pooled, unit_groups
from fitcli.tasks.classify.thresholds import held_classes

TWO = Target("label", "single-label", ("normal", "tumor"))
SAMPLES = [Sample(Path(f"{n}"), 0, patient=p) for n, p in enumerate(("a", "a", "b", "c", ""))]
TUMOR = np.array([0.2, 0.35, 0.3, 0.6, 0.1])
PROBABILITIES = np.stack([1 - TUMOR, TUMOR], axis=1)
HELD = held_classes([(0,), (0,), (1,), (1,), (0,)], 2)


def test_a_threshold_of_the_run() -> None:
    found = decision_document(TWO, PROBABILITIES, HELD, SAMPLES, {"label": {"tumor": 0.25}})
    assert (found["positive"], found["threshold"], found["threshold_from"]) == ("tumor", 0.25, "validation")
    assert found["sensitivity"] == 1
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["intervals"]["by"] == "patient"
    assert found["intervals"]["units"] == 4
    assert set(found["intervals"]["scores"]) == {
        "accuracy", "balanced_accuracy", "auroc", "sensitivity", "specificity"
    }  # fmt: skip
    without = decision_document(TWO, PROBABILITIES, HELD, SAMPLES, {})
    assert (without["threshold"], without["sensitivity"]) == (0.5, 0.5)
    assert "none" in without["threshold_from"]


def test_several_labels_have_a_threshold_each() -> None:
    marks = Target("m", "multi-label", ("p", "q"))
    found = decision_document(marks, PROBABILITIES, HELD, SAMPLES, {"m": {"q": 0.25}})
    assert found["per_class"]["q"]["sensitivity"] == 1
    assert found["per_class"]["p"]["threshold"] == 0.5
    assert found["per_class"]["p"]["auroc"] == pytest.approx(found["per_class"]["q"]["auroc"])
    assert "sensitivity q" in found["intervals"]["scores"]


def test_three_classes_have_intervals_alone() -> None:
    three = Target("t", "single-label", ("x", "y", "z"))
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    found = decision_document(three, p, held_classes([(0,), (1,), (2,)], 3), SAMPLES[2:], {})
    assert set(found) == {"intervals"}


def test_patients_are_pooled() -> None:
    assert unit_groups(SAMPLES) == [[0, 1], [2], [3], [4]]
    mean, held = pooled(PROBABILITIES, HELD, SAMPLES, TWO, "mean")
    assert mean[:, 1] == pytest.approx([0.275, 0.3, 0.6, 0.1])
    assert held.argmax(axis=1).tolist() == [0, 1, 1, 0]
    most, _ = pooled(PROBABILITIES, HELD, SAMPLES, TWO, "max")
    assert most[:, 1] == pytest.approx([0.35, 0.3, 0.6, 0.1])
    assert most.sum(axis=1) == pytest.approx(1)
    three = Target("t", "single-label", ("x", "y", "z"))
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    most, _ = pooled(p, held_classes([(0,), (0,)], 3), SAMPLES[:2], three, "max")
    assert most[0] == pytest.approx(np.array([0.6, 0.7, 0.1]) / 1.4)
