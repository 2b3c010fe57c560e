"""A NaN or infinite loss or gradient stops the run, before it reaches saved weights; the error names the images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support.runs import metrics
from support.small_runs import quietly, run_of, two_classes
from torch import nn

from fitcli.errors import FitError
from fitcli.runs.train_settings import TrainSettings
from fitcli.training import gradients, loop, trained_model
from fitcli.training.finite_check import check_finite
from fitcli.training.loop import train
from fitcli.training.optimizer import learning_rate
from fitcli.training.reports import (
    StepReport,
)
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


# In the middle of an epoch the loss of the next step is not finite, at its end that of the validation.
@pytest.mark.parametrize("step", [5, 7])
def test_a_loss_that_is_not_finite_leaves_saved_weights_alone(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    def explode(number: int, total: int, settings: TrainSettings) -> float:
        return 1e30 if number == step else learning_rate(number, total, settings)

    monkeypatch.setattr(loop, "learning_rate", explode)
    folder = tmp_path / "run"
    with pytest.raises(FitError, match=r"became (nan|inf).*lower --learning-rate"):
        train(run_of(data, folder), quietly)
    monkeypatch.undo()
    for name in ("model.safetensors", "last/model.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(folder / name).values())
    assert all(math.isfinite(entry["loss"]) for entry in metrics(folder))
    assert train(run_of(data, folder, resume=True), quietly, resume=True).step == 8


def test_a_gradient_that_is_not_finite_does_not_reach_the_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def spoil(gradient: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return gradient * math.nan if calls == 8 else gradient

    def steep(*arguments: Any, **settings: Any) -> nn.Module:
        model = build(*arguments, **settings)
        model.head.classify.bias.register_hook(spoil)
        return model

    monkeypatch.setattr(trained_model, "build", steep)
    with pytest.raises(FitError, match="the gradient became nan in step 8"):
        train(run_of(data, tmp_path / "run"), quietly)
    for name in ("model.safetensors", "last/model.safetensors"):
        assert all(torch.isfinite(tensor).all() for tensor in load_file(tmp_path / "run" / name).values())


def test_the_error_names_the_images(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    real = gradients.run_job

    def explode(*arguments: object, **settings: object) -> object:
        outcome = real(*arguments, **settings)  # type: ignore[arg-type]
        return outcome._replace(loss=outcome.loss * float("nan")) if len(seen) == 3 else outcome

    monkeypatch.setattr(gradients, "run_job", explode)
    # One step is one epoch: every training image is in it, and four are named.
    run = run_of(data, tmp_path / "run", batch_size=8, epochs=4)
    with pytest.raises(
        FitError, match=r"the loss became nan in step 4, on .*\.png, .* and 4 more; start again"
    ) as caught:
        train(run, lambda report: seen.append([]) if isinstance(report, StepReport) else None)
    named = [str(sample.path) for sample in run.dataset.train if str(sample.path) in str(caught.value)]
    assert len(named) == 4


@pytest.mark.parametrize("saved", [False, True])
def test_only_what_exists_is_said_to_be_kept(tmp_path: Path, saved: bool) -> None:
    if saved:
        (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FitError, match="became nan in step 1") as caught:
        check_finite("loss", math.nan, tmp_path, 1)
    assert ("is still there" in str(caught.value)) == saved
