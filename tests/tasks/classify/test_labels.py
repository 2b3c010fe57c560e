"""Probabilities become labels: one per single-label target, any number per multi-label target."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.errors import FitError
from fitcli.runs.targets import Target
from fitcli.tasks.classify.labels import find_target, predicted_labels, prediction_document, top_classes

KIND = Target("kind", "single-label", ("cat", "dog", "owl"))
MARKS = Target("marks", "multi-label", ("a", "b", "c"))


def test_a_target_is_found_by_name() -> None:
    assert [find_target((KIND, MARKS), name) for name in (None, "kind", "marks")] == [0, 0, 1]
    with pytest.raises(FitError, match="size: the run knows kind, marks; give one of these"):
        find_target((KIND, MARKS), "size")


def test_the_most_probable_classes_come_first_and_equal_ones_in_their_order() -> None:
    probabilities = np.array([0.2, 0.4, 0.4])
    assert top_classes(KIND.classes, probabilities, 2) == [("dog", 0.4), ("owl", 0.4)]
    assert len(top_classes(KIND.classes, probabilities, 9)) == 3


def test_labels_of_both_kinds_of_target() -> None:
    assert predicted_labels(KIND, np.array([0.2, 0.5, 0.3])) == ["dog"]
    assert predicted_labels(MARKS, np.array([0.7, 0.5, 0.9])) == ["a", "c"]
    assert predicted_labels(MARKS, np.array([0.1, 0.2, 0.3])) == []


def test_a_document_lists_the_labels_of_a_multi_label_target_only() -> None:
    assert prediction_document(KIND, np.array([0.2, 0.5, 0.3]), 1) == {
        "predictions": [{"label": "dog", "probability": 0.5}]
    }
    assert prediction_document(MARKS, np.array([0.7, 0.5, 0.9]), 1) == {
        "predictions": [{"label": "c", "probability": 0.9}],
        "labels": ["a", "c"],
    }
