"""Steps one after the other: loss and probabilities by their definition, whatever the outputs are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fitcli.tasks.classify.targets.continuation import continuation_loss, likelihood_loss, passing

HAZARDS = torch.tensor([[0.3, -2.0, 1.0], [5.0, 0.1, -0.7], [-1.0, 0.0, 2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)

ROWS = torch.tensor([[0.0, 1], [1, 1], [3, 0], [2, 0]])
"""Stopped at the first step; stopped at the second; passed all; passed two, and then was not seen any more."""


def by_hand(hazards: list[float], passed: int, stopped: bool) -> float:
    probability = 1.0
    for step in range(passed):
        probability *= 1 - 1 / (1 + math.exp(-hazards[step]))
    return probability / (1 + math.exp(-hazards[passed])) if stopped else probability


def test_the_loss_is_the_likelihood() -> None:
    each = [-math.log(by_hand(h, int(n), bool(s))) for h, (n, s) in zip(HAZARDS.tolist(), ROWS.tolist(), strict=True)]
    assert float(continuation_loss(HAZARDS, ROWS)) == pytest.approx(np.mean(each))
    further = np.stack([passing(row) for row in HAZARDS])
    assert likelihood_loss(further, ROWS.numpy()) == pytest.approx(np.mean(each))
    with_unknown = ROWS.clone()
    with_unknown[1] = math.nan
    assert float(continuation_loss(HAZARDS, with_unknown)) == pytest.approx((sum(each) - each[1]) / 4)


def test_probabilities_fall_from_step_to_step_for_extreme_outputs_too() -> None:
    outputs = torch.tensor([-800.0, 40.0, -3.0, 900.0, 2.0], dtype=torch.float64)
    further = passing(outputs)
    assert np.isfinite(further).all()
    assert (np.diff(further) <= 0).all()
    assert further[0] == pytest.approx(1)
    assert math.isfinite(float(continuation_loss(outputs[None], torch.tensor([[4.0, 1]]))))
    assert math.isfinite(likelihood_loss(further[None], np.array([[4.0, 1]])))
