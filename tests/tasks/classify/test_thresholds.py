"""Thresholds that validation chooses, against a search over all of them; areas against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc

from fitcli.runs.targets import Target
from fitcli.tasks.classify.thresholds import (
    area_under_roc,
    best_threshold,
    choose_thresholds,
    decided_classes,
    decision_scores,
    held_classes,
)


def drawn(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    held = rng.random(count) < 0.3
    held[:2] = (True, False)
    # Ties, as a sure model has them.
    return np.round(np.clip(rng.normal(0.4 + 0.2 * held, 0.2), 0, 1), 2), held


@pytest.mark.parametrize("seed", range(5))
def test_no_other_threshold_is_better(seed: int) -> None:
    probabilities, held = drawn(seed)
    best = best_threshold(probabilities, held)
    assert best is not None
    youden = [sum(decision_scores(probabilities, held, t)) for t in np.linspace(0, 1, 1001)]
    assert sum(decision_scores(probabilities, held, best)) == pytest.approx(max(youden))


def test_a_threshold_lies_between_the_classes() -> None:
    values, held = np.array([0.1, 0.2, 0.7, 0.9]), np.array([False, False, True, True])
    assert best_threshold(values, held) == pytest.approx(0.45)
    assert best_threshold(values / 10, held) == pytest.approx(0.045), "an unsure model is not at a half"
    assert best_threshold(values, np.ones(4, bool)) is None
    assert best_threshold(np.full(4, 0.3), held) == pytest.approx(0.15), "the only candidate says yes to all"


def test_which_classes_have_one() -> None:
    two, three = Target("a", "single-label", ("n", "t")), Target("b", "single-label", ("x", "y", "z"))
    marks = Target("m", "multi-label", ("p", "q"))
    assert [decided_classes(target) for target in (two, three, marks)] == [(1,), (), (0, 1)]
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    held = held_classes([(0,), (1,)], 2)
    assert choose_thresholds(two, p, held) == {"t": pytest.approx(0.4)}
    assert choose_thresholds(three, np.full((2, 3), 1 / 3), held_classes([(0,), (1,)], 3)) == {}
    assert list(choose_thresholds(marks, p, held)) == ["p", "q"]


@pytest.mark.parametrize("seed", range(3))
def test_areas(seed: int) -> None:
    probabilities, held = drawn(seed)
    expected = float(binary_auroc(torch.tensor(probabilities), torch.tensor(held).long()))
    assert area_under_roc(probabilities, held) == pytest.approx(expected, abs=1e-6)
    weights = np.random.default_rng(seed).integers(0, 4, len(held)).astype(float)
    weights[:2] = 1
    repeated = np.repeat(np.arange(len(held)), weights.astype(int))
    assert area_under_roc(probabilities, held, weights) == pytest.approx(
        area_under_roc(probabilities[repeated], held[repeated])
    )
    pair = decision_scores(probabilities, held, 0.5, weights)
    assert pair == pytest.approx(decision_scores(probabilities[repeated], held[repeated], 0.5))
    assert np.isnan(area_under_roc(probabilities, np.ones_like(held)))
