"""Runs of every task are loaded as what they are, ready for inference, and only where they are expected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.pictures import colored, save
from support.small_runs import CPU, quietly, run_of

from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError
from fitcli.runs.weights import Checkpoint, TaskModel
from fitcli.tasks.load import expect_task, load_config, load_run
from fitcli.tasks.registry import TASKS, find_task
from fitcli.training.loop import train
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.dense import FITDense
from models.encoder import FITClassifier
from models.layers import FeedForward

MODELS = {
    "classify": FITClassifier,
    "segment": FITDense,
    "detect": FITDense,
    "diffusion": FITDenoiser,
    "autoregressive": FITDecoder,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step of every task, in a folder of its name."""
    folder = tmp_path_factory.mktemp("runs")
    for label in ("dark", "light"):
        for number in range(2):
            save(folder / "data" / label / f"{number}.png", colored((16, 16), (60, 80, 70), number))
    for task in TASKS:
        train(run_of(folder / "data", folder / task, task=task, steps=1), quietly)
    return folder


@pytest.mark.walk(3)
@pytest.mark.parametrize("task", TASKS)
def test_a_run_is_loaded_as_what_it_is(runs: Path, task: str) -> None:
    for expect in (None, find_task(task)):
        checkpoint: Checkpoint[TaskModel] = load_run(runs / task, CPU, expect)
        assert type(checkpoint.model) is MODELS[task]
        assert checkpoint.config == load_config(runs / task)
        assert checkpoint.config.task == task
        assert not checkpoint.model.training
        assert not any(parameter.requires_grad for parameter in checkpoint.model.parameters())


@pytest.mark.parametrize("task", TASKS)
def test_weights_are_cast_ahead_for_encoders_alone(runs: Path, task: str) -> None:
    checkpoint: Checkpoint[TaskModel] = load_run(runs / task, choose_runtime("cpu", "bf16"))
    types = {
        parameter.dtype
        for module in checkpoint.model.modules()
        if isinstance(module, FeedForward)
        for parameter in module.parameters()
        if parameter.ndim == 2
    }
    assert types == {torch.bfloat16 if task in ("classify", "segment", "detect") else torch.float32}


@pytest.mark.parametrize("task", TASKS)
def test_a_run_of_another_task_is_refused_by_its_task_and_commands(runs: Path, task: str) -> None:
    uses = {
        "classify": "`fit classify` and `fit embed`",
        "segment": "`fit segment`",
        "detect": "`fit detect`",
        "diffusion": "`fit generate`",
        "autoregressive": "`fit generate`",
    }
    others = [name for name in TASKS if name != task]
    message = f"{runs / task}: was trained with --task {task}, which is for {uses[task]}; give a run of --task "
    with pytest.raises(CheckpointError) as caught:
        expect_task(runs / task, *others)
    assert str(caught.value) == message + " or ".join(others)
    with pytest.raises(CheckpointError) as caught:
        load_run(runs / task, CPU, find_task(others[0]))
    assert str(caught.value) == message + others[0]
    assert expect_task(runs / task, *TASKS) == load_config(runs / task)


@pytest.mark.parametrize("task", ["paint", 5, None, ["classify"]])
def test_a_run_of_an_unknown_task_is_one_error(runs: Path, tmp_path: Path, task: object) -> None:
    document = json.loads((runs / "classify/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**document, "task": task}))
    with pytest.raises(CheckpointError, match=r"config\.json: fit .* has no task ") as caught:
        load_run(tmp_path, CPU)
    assert "\n" not in str(caught.value)
