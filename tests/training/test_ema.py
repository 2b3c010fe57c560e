"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fitcli.training.ema import Ema, decay_at


def test_the_average_of_known_weights() -> None:
    model = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(model.weight, 1.0)
    ema, expected = Ema(model, 0.5), 1.0
    for step in range(1, 30):
        nn.init.constant_(model.weight, float(step))
        ema.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert ema.model.weight.item() == pytest.approx(expected, rel=1e-12)
    assert model.weight.item() == 29.0
    assert not ema.model.weight.requires_grad


def test_the_decay_warms_up() -> None:
    decays = [decay_at(step, 0.99) for step in range(1, 2000)]
    assert decays[0] == pytest.approx(2 / 11)
    assert decays == sorted(decays)
    assert decays[-1] == 0.99
