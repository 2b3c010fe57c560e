"""The learning rate of each step, and the parameters that AdamW decays."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fitcli.tasks.registry import train_settings
from fitcli.training import optimizer as optimizers
from fitcli.training.optimizer import build_optimizer, learning_rate, set_learning_rate, step_if_finite
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


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_is_not_finite_is_left_out(monkeypatch: pytest.MonkeyPatch, fused: bool, bad: float) -> None:
    """Weights, moments and counts stay as they were, and the steps before and after are those of a plain optimizer."""
    monkeypatch.setattr(optimizers, "FUSED", ("cpu",) if fused else ())
    models = [nn.Linear(5, 3) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    skipping, plain = (build_optimizer(model, train_settings()) for model in models)
    assert bool(skipping.defaults["fused"]) is fused
    for norm in (1.0, bad, 2.0, bad):
        for number, parameter in enumerate(models[0].parameters()):
            parameter.grad = torch.full_like(parameter, bad if norm == bad or norm != norm else number + norm)
            list(models[1].parameters())[number].grad = parameter.grad.clone()
        step_if_finite(skipping, torch.tensor(norm))
        if math.isfinite(norm):
            plain.step()
        for one, other in zip(states(models[0], skipping), states(models[1], plain), strict=True):
            assert torch.equal(one, other)


def states(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    moments = [value for state in optimizer.state.values() for value in state.values()]
    return [parameter.detach() for parameter in model.parameters()] + moments
