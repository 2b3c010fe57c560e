"""One class per image: prediction, cells and scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fitcli.runs.targets import Target
from fitcli.tasks.classify.scores import classification_scores
from fitcli.tasks.classify.targets.single_label import SingleLabel

KIND, ANIMAL = SingleLabel(), Target("kind", "single-label", ("cat", "dog", "owl"))


def test_a_prediction_is_the_most_probable_class() -> None:
    prediction = KIND.predict(ANIMAL, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log())
    assert prediction == pytest.approx([0.2, 0.5, 0.3])
    assert KIND.text(ANIMAL, prediction) == "dog"
    document = KIND.document(ANIMAL, prediction, 1)
    assert document == {"predictions": [{"label": "dog", "probability": pytest.approx(0.5)}]}
    assert (KIND.cells(ANIMAL, (2,)), KIND.names(ANIMAL)) == (["owl"], ANIMAL.classes)


def test_scores_of_validation_are_those_of_evaluation() -> None:
    predictions, labels = np.array([[0.9, 0.1, 0], [0.3, 0.6, 0.1], [0.6, 0.1, 0.3]]), [(0,), (1,), (1,)]
    expected = classification_scores(predictions, np.array([0, 1, 1]))
    assert KIND.evaluate(ANIMAL, predictions, labels) == expected
    found = KIND.validate(ANIMAL, predictions, labels)
    assert found.loss == pytest.approx(expected["loss"])
    assert found.scores == pytest.approx({name: expected[name] for name in ("accuracy", "balanced_accuracy")})
