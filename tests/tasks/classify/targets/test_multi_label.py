"""Any number of classes per image: prediction, cells and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fitcli.runs.targets import Target
from fitcli.tasks.classify.scores import multi_label_scores
from fitcli.tasks.classify.targets.multi_label import MultiLabel

KIND, MARKS = MultiLabel(), Target("marks", "multi-label", ("a", "b", "c"))


def test_a_prediction_holds_all_classes_above_one_half() -> None:
    prediction = KIND.predict(MARKS, torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64))
    assert prediction == pytest.approx(1 / (1 + np.exp([-1.0, 0, -2])))
    assert KIND.text(MARKS, prediction) == "a|c"
    assert KIND.text(MARKS, np.array([0.1, 0.2, 0.3])) == ""
    assert KIND.document(MARKS, np.array([0.7, 0.5, 0.9]), 1) == {
        "predictions": [{"label": "c", "probability": 0.9}],
        "labels": ["a", "c"],
    }
    assert (KIND.cells(MARKS, (0, 2)), KIND.cells(MARKS, ())) == (["a|c"], [""])
    assert KIND.row(MARKS, (0, 2)) == [1, 0, 1]


def test_scores_of_validation_and_evaluation() -> None:
    predictions, answers = np.array([[0.9, 0.1, 0.6], [0.3, 0.6, 0.1]]), [(0,), (1,)]
    held = np.array([[True, False, False], [False, True, False]])
    expected = multi_label_scores(predictions, held)
    assert KIND.evaluate(MARKS, predictions, answers) == expected
    found = KIND.validate(MARKS, predictions, answers)
    assert found.loss == pytest.approx(3 * expected["loss"])
    assert found.scores == pytest.approx({"accuracy": 0.5, "balanced_accuracy": (1 + 3 / 4) / 2})
