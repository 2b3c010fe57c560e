"""What a run trains: weights, average and moments change together, or not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.small_runs import run_of, two_classes

from fitcli.training.checkpointing.snapshot import State
from fitcli.training.loop import train
from fitcli.training.trained_model import TrainedModel


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


def trained(data: Path, folder: Path, norm: float = 1.0, **settings: Any) -> TrainedModel:
    """The model of a run after one step along gradients of 1."""
    model = TrainedModel(run_of(data, folder, **settings), resumes=False)
    for parameter in model.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    model.step(0.01, torch.tensor(norm))
    model.add_to_average(1)
    return model


def equal(one: State, other: State) -> bool:
    assert {part: list(tensors) for part, tensors in one.items()} == {part: list(t) for part, t in other.items()}
    return all(torch.equal(one[part][name], other[part][name]) for part in one for name in one[part])


def test_a_step_changes_weights_and_drops_gradients(data: Path, tmp_path: Path) -> None:
    model = trained(data, tmp_path / "run")
    assert all(parameter.grad is None for parameter in model.model.parameters())
    still = TrainedModel(run_of(data, tmp_path / "still"), resumes=False)
    for (name, after), before in zip(model.model.named_parameters(), still.model.parameters(), strict=True):
        assert not torch.equal(after, before), name


def test_a_step_that_is_not_finite_changes_nothing(data: Path, tmp_path: Path) -> None:
    model = trained(data, tmp_path / "run", norm=math.nan)
    still = TrainedModel(run_of(data, tmp_path / "still"), resumes=False)
    assert all(map(torch.equal, model.model.state_dict().values(), still.model.state_dict().values()))


def test_a_snapshot_restores_weights_average_and_moments(data: Path, tmp_path: Path) -> None:
    state = trained(data, tmp_path / "run", ema=0.9).snapshot(copy=True)
    other = TrainedModel(run_of(data, tmp_path / "other", ema=0.9, seed=5), resumes=True)
    other.restore(state)
    assert equal(state, other.snapshot(copy=True))
    assert set(state) == {"model", "optimizer", "ema"}


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_inference_takes_the_average_if_there_is_one(data: Path, tmp_path: Path, ema: float) -> None:
    model = trained(data, tmp_path / "run", ema=ema)
    used = model.for_inference().model
    assert not used.training
    assert (used is model.model) == (not ema)


def test_weights_of_another_run_are_the_start_but_of_a_resumed_run(data: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "first", steps=1), lambda report: None)
    run = run_of(data, tmp_path / "run", start_from=str(tmp_path / "first"), seed=3)
    fresh, resumed = (TrainedModel(run, resumes).model.encoder.latent_norm.weight for resumes in (False, True))
    assert not torch.equal(fresh, torch.ones_like(fresh))
    assert torch.equal(resumed, torch.ones_like(resumed))


RUNS: dict[str, dict[str, Any]] = {
    "classify": {},
    "diffusion": {"task": "diffusion", "preset": "nano", "patch": 4, "size": 32, "unconditional": True},
    "autoregressive": {"task": "autoregressive", "patch": 4, "levels": 4, "size": 24},
    "segment": {"task": "segment", "patch": 4},
}


@pytest.mark.walk(1)
@pytest.mark.parametrize("name", RUNS)
def test_weights_that_no_output_depends_on_are_not_trained(data: Path, tmp_path: Path, name: str) -> None:
    """Their gradients were rounding, which Adam turned into steps: equal runs differed in them by 3e-4 and more."""
    train(run_of(data, tmp_path / "run", steps=4, **RUNS[name]), lambda report: None)
    weights = load_file(tmp_path / "run/last/model.safetensors")
    fused = {key: bias for key, bias in weights.items() if key.endswith((".query_key_value.bias", ".key_value.bias"))}
    assert fused
    for key, bias in fused.items():
        *_, keys, values = bias.chunk(3 if "query" in key else 2)
        assert keys.count_nonzero() == 0, key
        assert values.count_nonzero() == values.numel(), key
    if name == "classify":
        assert weights["head.score.bias"].count_nonzero() == 0
