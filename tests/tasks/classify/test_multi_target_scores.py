"""Every target is scored by itself, and the overall accuracy is their mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.data.dataset import Sample
from fitcli.runs.targets import Target
from fitcli.tasks.classify.multi_target_scores import evaluate_targets
from fitcli.tasks.classify.scores import classification_scores, multi_label_scores

TARGETS = (Target("kind", "single-label", ("cat", "dog")), Target("marks", "multi-label", ("a", "b")))


def test_scores_of_several_targets_are_those_of_each() -> None:
    kinds = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    marks = np.array([[0.8, 0.2], [0.6, 0.7], [0.1, 0.9]])
    numbers = [((0,), (0,)), ((1,), (0, 1)), ((1,), ())]
    scored = [(Sample(Path(f"{i}.png"), number), (kinds[i], marks[i])) for i, number in enumerate(numbers)]
    result = evaluate_targets(TARGETS, "val", scored, failed=2)
    by_target = result.scores["tasks"]
    expected = classification_scores(kinds, np.array([0, 1, 1]))
    assert {name: by_target["kind"][name] for name in expected} == expected
    held = np.array([[True, False], [True, True], [False, False]])
    assert by_target["marks"]["f1"] == multi_label_scores(marks, held)["f1"]
    assert result.scores["accuracy"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert (result.images, result.failed) == (3, 2)
    assert result.columns[:5] == ("path", "label:kind", "predicted:kind", "labels:marks", "predicted:marks")
    assert result.rows[1][1:5] == ("dog", "dog", "a|b", "a|b")
    assert result.rows[2][1:5] == ("dog", "cat", "", "b")
    assert result.table_scores["kind: accuracy"] == pytest.approx(2 / 3)
