"""Pixels by true and found class."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_confusion_matrix

from fitcli.tasks.segment.confusion import IGNORED, count_confusion


@pytest.mark.parametrize("classes", [1, 2, 5, 254])
def test_counts_are_those_of_torchmetrics(classes: int) -> None:
    rng = np.random.default_rng(classes)
    truth = rng.integers(0, classes, (90, 110)).astype(np.uint8)
    found = np.where(rng.random(truth.shape) < 0.5, truth, rng.integers(0, classes, truth.shape)).astype(np.uint8)
    truth[:20] = IGNORED
    counts = count_confusion(truth, found, classes)
    assert (counts.shape, counts.dtype) == ((classes, classes + 1), np.int64)
    expected = multiclass_confusion_matrix(
        torch.tensor(found.astype(int)), torch.tensor(truth.astype(int)), max(classes, 2), ignore_index=IGNORED
    )
    np.testing.assert_array_equal(counts[:, :-1], expected.numpy()[:classes, :classes])
    assert not counts[:, -1].any()


def test_places_that_were_not_looked_at_have_a_column() -> None:
    truth = np.array([[0, 1, 1, IGNORED]], np.uint8)
    found = np.array([[0, IGNORED, 0, IGNORED]], np.uint8)
    np.testing.assert_array_equal(count_confusion(truth, found, 2), [[1, 0, 0], [1, 0, 1]])


def test_values_that_are_no_class_are_refused() -> None:
    good, bad = np.zeros((2, 2), np.uint8), np.full((2, 2), 3, np.uint8)
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="3 is the number of none of 3 classes"):
            count_confusion(*pair, 3)
    with pytest.raises(ValueError, match="cannot be compared"):
        count_confusion(good, good[:1], 3)
