"""The learning rate of each step, and the parameters that AdamW decays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fitcli.tasks.registry import train_settings
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from models.build import build
from models.presets import classifier_preset


@pytest.mark.parametrize("total", [1, 2, 10, 1000])
def test_the_learning_rate_rises_linearly_and_falls_as_half_a_cosine(total: int) -> None:
    settings = train_settings(learning_rate=0.5, warmup=0.1)
    rates = [learning_rate(step, total, settings) for step in range(total)]
    assert max(rates) == pytest.approx(0.5)
    assert min(rates) > 0
    top = rates.index(max(rates))
    assert top <= max(1, total // 10)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if total == 1000:
        assert rates[49] == pytest.approx(0.25)
        assert rates[550] == pytest.approx(0.25, abs=1e-3), "half way down after half of the remaining steps"
        assert rates[325] == pytest.approx(0.25 * (1 + math.sqrt(0.5)), abs=1e-3)
        assert rates[-1] < 1e-5


def test_every_parameter_is_optimized_once_and_only_matrices_decay() -> None:
    model = build(classifier_preset("debug", 3, 2), seed=0)
    optimizer = build_optimizer(model, train_settings(weight_decay=0.1))
    taken = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(taken) == sorted(id(parameter) for parameter in model.parameters())

    # With gradients of zero, only decay changes the weights.
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    matrices = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    assert len(matrices) > 10
    for name, parameter in model.named_parameters():
        shrunk = 0.95 if name in matrices else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * shrunk, msg=name)
