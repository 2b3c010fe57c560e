"""The list of kinds: names and headings are different, and rows and predictions of targets lie side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.answer_tables import ANSWERS, TARGETS

from fitcli.runs.targets import Target, slices
from fitcli.tasks.classify.targets.kinds import (
    TARGET_KINDS,
    kind_of,
    known_answers,
    prediction_slices,
    row_slices,
)


def test_every_kind_is_found_by_its_name_and_by_its_headings() -> None:
    assert [kind_of(target) for target in TARGETS] == list(TARGET_KINDS)
    words = [word for kind in TARGET_KINDS for word in kind.words]
    assert words == ["label", "labels", "value", "order", "time", "event"]
    with pytest.raises(ValueError, match=r"^target 'x': 'ordinal' is none of single-label, multi-label, value, order"):
        kind_of(Target("x", "ordinal", ("a", "b")))
    for target in TARGETS:
        kind_of(target).check(target)


def test_outputs_rows_and_predictions_have_their_places() -> None:
    assert [(part.start, part.stop) for part in slices(TARGETS)] == [(0, 3), (3, 5), (5, 6), (6, 8), (8, 10)]
    assert [(part.start, part.stop) for part in row_slices(TARGETS)] == [(0, 1), (1, 3), (3, 4), (4, 6), (6, 8)]
    assert [(part.start, part.stop) for part in prediction_slices(TARGETS)] == [(0, 3), (3, 5), (5, 6), (6, 9), (9, 11)]


def test_predictions_have_their_stated_length_and_texts_are_cells() -> None:
    for target, part in zip(TARGETS, slices(TARGETS), strict=True):
        kind, outputs = kind_of(target), torch.randn(10, dtype=torch.float64)[part]
        prediction = kind.predict(target, outputs)
        assert (prediction.shape, prediction.dtype) == ((kind.size(target),), np.float64)
        assert len(kind.names(target)) in (0, kind.size(target))
        assert isinstance(kind.text(target, prediction), str)
        for image in ANSWERS:
            answer = image[TARGETS.index(target)]
            assert len(kind.cells(target, answer)) == len(kind.headings(target))
            assert all(isinstance(cell, str) for cell in kind.cells(target, answer))


def test_scores_are_of_the_known_answers() -> None:
    predictions = [[1.0], [2.0], [3.0]]
    numbers, known = known_answers(TARGETS[2], predictions, [image[2] for image in ANSWERS])
    assert (numbers.tolist(), known) == ([[1.0], [3.0]], [(12.0,), (3.0,)])
    numbers, known = known_answers(TARGETS[1], [[0.1, 0.2]] * 3, [image[1] for image in ANSWERS])
    assert (len(numbers), known) == (3, [(0, 1), (), (1,)])
