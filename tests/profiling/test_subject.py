"""The model and the conditions that options of `fit profile-memory` stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.small_runs import run_of, two_classes

from fitcli.errors import CheckpointError, FitError
from fitcli.profiling import subject as module
from fitcli.profiling.subject import DEFAULT_GPU_BYTES, conditions_for, subject_for
from fitcli.runs.config import save_config
from fitcli.tasks.registry import TASKS, find_task


@pytest.fixture(autouse=True)
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("task", TASKS)
def test_the_usual_preset_of_a_task(task: str) -> None:
    subject = subject_for(None, None, task)
    assert (subject.name, subject.task) == (find_task(task).profiled_preset, task)
    assert subject.config == find_task(task).preset(subject.name).config
    assert subject.ema, "base, classifiers and models that generate keep an average"
    assert subject_for(None, "tiny", task).ema == (task not in ("segment", "detect"))


def test_a_run_folder(tmp_path: Path) -> None:
    run = run_of(two_classes(tmp_path / "data"), tmp_path / "run", patch=4)
    save_config(tmp_path, run.config)
    subject = subject_for(tmp_path, None, None)
    assert (subject.name, subject.task, subject.config) == (str(tmp_path), run.config.task, run.config.model)
    assert not subject.ema
    (tmp_path / "ema.safetensors").touch()
    assert subject_for(tmp_path, None, None).ema, "the run keeps an average"
    side = subject.group_pixels
    assert [subject.side(res, training=False) for res in (1, side, side + 1, 10 * side)] == [1, 1, 2, 10]
    cropped = subject.crops
    assert [subject.side(res, training=True) for res in (1, side, side + 1, 10 * side)] == [
        1,
        1,
        1 if cropped else 2,
        10,
    ]


def test_options_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="--checkpoint and --preset exclude each other"):
        subject_for(tmp_path, "tiny", None)
    with pytest.raises(FitError, match="--task is for --preset"):
        subject_for(tmp_path, None, "classify")
    with pytest.raises(CheckpointError, match="no run folder"):
        subject_for(tmp_path, None, None)
    with pytest.raises(FitError, match="--group-parallel: several devices can only be estimated"):
        conditions_for("auto", "auto", 1, None, "measure", ranks=2)
    with pytest.raises(FitError, match="--group-parallel 100000: no machines have so many devices; give at most 1024"):
        conditions_for("auto", "auto", 1, None, "estimate", ranks=100_000)


def test_a_machine_without_a_gpu_assumes_one() -> None:
    conditions = conditions_for("auto", "auto", 3, None, "auto")
    assert (conditions.device, conditions.precision, conditions.runtime) == ("cuda", "bf16", None)
    assert (conditions.images, conditions.budget_bytes) == (3, DEFAULT_GPU_BYTES)
    assert conditions_for("auto", "fp32", 1, 5 << 30, "auto").precision == "fp32"
    assert conditions_for("auto", "fp32", 1, 5 << 30, "auto").budget_bytes == 5 << 30


def test_the_cpu_has_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda runtime: 123)
    conditions = conditions_for("cpu", "fp32", 1, None, "measure")
    assert conditions.runtime is not None
    assert (conditions.device, conditions.precision, conditions.budget_bytes) == ("cpu", "fp32", 123)
