"""`--resume`: the run is the same to the bit, in every execution and after any damage that can be repaired."""

from __future__ import annotations

import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.command_line import Fit
from support.runs import assert_same_run, metrics
from support.small_runs import at, die, quietly, run_of, two_classes

from fitcli.data.bad_images import TooManyBadImages
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.registry import TASKS
from fitcli.training import loop
from fitcli.training.checkpointing.saved_states import saved_steps
from fitcli.training.loop import train
from fitcli.training.reports import DamageReport, Report, StepReport, ValidationReport


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return two_classes(tmp_path / "data", (24, 16))


@pytest.mark.parametrize(
    ("settings", "plan"),
    [
        ({"accumulate": 2, "ema": 0.9, "balance": True}, ExecutionPlan(kind="stream", handful=1)),
        pytest.param(
            {"task": "diffusion", "accumulate": 2, "precision": "bf16"},
            ExecutionPlan(kind="recompute", handful=1),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"task": "autoregressive", "batch_size": 1, "accumulate": 3},
            ExecutionPlan(kind="stream", store="disk"),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["classify streamed", "diffusion bf16 recomputed", "autoregressive streamed from disk"],
)
def test_every_source_of_state(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], plan: ExecutionPlan
) -> None:
    """The run is saved within an epoch, and resumed with other states of the global random generators."""
    # In the foreground every save is made when it is due.
    monkeypatch.setattr(loop, "has_room_for_copy", lambda _: False)
    settings = {**settings, "steps": 5, "save_every": 3}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(replace(run_of(data, whole, **settings), plan=plan), quietly)
    with pytest.raises(SystemError):
        train(replace(run_of(data, parts, **settings), plan=plan), at(4, die))
    assert saved_steps(parts)[0] == 3
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    resumed = run_of(data, parts, resume=True)
    assert resumed.plan == plan
    train(resumed, quietly, resume=True)
    assert_same_run(parts, whole)


def test_training_uses_no_global_random_generator(data: Path, tmp_path: Path) -> None:
    states = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index,union-attr]
    for task in TASKS:
        train(run_of(data, tmp_path / task, task=task, steps=2), quietly)
    after = [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]  # type: ignore[index,union-attr]
    assert states == after


@pytest.mark.more
def test_a_damaged_state_is_a_warning_and_the_run_is_the_same(data: Path, tmp_path: Path, fit: Fit) -> None:
    arguments = ["train", data, "--preset", "debug", "--batch-size", 2, "--device", "cpu", "--out"]
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert fit(*arguments, whole, "--epochs", 3).exit_code == 0
    assert fit(*arguments, run, "--epochs", 3).exit_code == 0
    last, before = saved_steps(run)
    assert last == 12
    weights = run / "training/states/00000012/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for name in ("last/model.safetensors", "last/ema.safetensors", "last/config.json"):
        (run / name).unlink(missing_ok=True)
    result = fit(*arguments, run, "--resume")
    assert result.exit_code == 0
    warning = f"warning: {weights.parent}: damaged (model.safetensors is not the file that was saved: its checksum "
    assert result.stderr.startswith(f"{warning}differs); continuing from step {before}, which was saved before\n")
    assert_same_run(run, whole)
    for state in (run / "training/states").iterdir():
        (state / "state.json").unlink()
    result = fit(*arguments, run, "--resume")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {weights.parent}: damaged (")
    assert result.stderr.endswith("and no state before it is whole; start a new run\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.more
def test_weights_are_written_again_after_a_kill(data: Path, tmp_path: Path) -> None:
    """The process is killed after it saved the state, and before it published the weights."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(run_of(data, whole), quietly)
    train(run_of(data, run), quietly)
    shutil.rmtree(run / "last")
    best = max(entry["step"] for entry in metrics(run) if entry.get("best"))
    if best == 8:
        (run / "model.safetensors").write_bytes(b"of step 4")
    (run / "training/states/.00000009.partial-0a1b2c3d").mkdir()
    (run / ".model.safetensors.partial-0a1b2c3d").touch()
    (run / ".tmpZXZip3").touch()
    train(run_of(data, run, resume=True), quietly, resume=True)
    assert_same_run(run, whole)


@pytest.mark.more
def test_a_validation_that_was_logged_but_not_saved_is_repeated(data: Path, tmp_path: Path) -> None:
    """A request to stop at the end of an epoch leaves the validation to the next process, which dies after it."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(run_of(data, whole), quietly)

    def stop(report: Report) -> None:
        if isinstance(report, StepReport) and report.step == 4:
            signal.raise_signal(signal.SIGINT)

    def die_after_validation(report: Report) -> None:
        if isinstance(report, ValidationReport):
            die()

    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, run), stop)
    with pytest.raises(SystemError):
        train(run_of(data, run, resume=True), die_after_validation, resume=True)
    assert [entry["step"] for entry in metrics(run)] == [1, 2, 3, 4, 4]
    train(run_of(data, run, resume=True), quietly, resume=True)
    assert_same_run(run, whole)


@pytest.mark.more
@pytest.mark.parametrize("split", [pytest.param("train", marks=pytest.mark.slow), "val"])
def test_bad_images_are_reported_once_over_all_starts(data: Path, tmp_path: Path, split: str) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    dataset = run_of(data, tmp_path / "none").dataset
    victim = (dataset.train[3] if split == "train" else dataset.validation[0]).path
    settings = {"max_bad_images": 1, "epochs": 2}
    good = victim.read_bytes()
    first = run_of(data, whole, **settings), run_of(data, run, **settings)
    victim.write_bytes(good[:-60])
    train(first[0], quietly)
    with pytest.raises(SystemError):
        train(first[1], at(6, die))
    victim.write_bytes(good)
    resumed = run_of(data, run, resume=True)
    victim.write_bytes(good[:-60])
    train(resumed, quietly, resume=True)
    assert [entry["kind"] for entry in metrics(run)].count("bad image") == 1
    assert_same_run(run, whole)
    # It still counts after the interruption.
    other = (dataset.train[5] if split == "train" else dataset.validation[1]).path
    again = run_of(data, run, resume=True, epochs=3)
    other.write_bytes(other.read_bytes()[:-60])
    with pytest.raises(TooManyBadImages, match=other.name):
        train(again, quietly, resume=True)


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Path:
    """A run of four steps, one epoch."""
    train(run_of(data, tmp_path / "run", epochs=1), quietly)
    return tmp_path / "run"


def test_other_validation_images_start_a_new_comparison(data: Path, begun: Path) -> None:
    """The best model on the earlier images stays until the next validation, which is the best on the new images."""
    kept = (begun / "model.safetensors").read_bytes()
    rows = [f"{path},{path.parent.name},{split}" for path, split in
            zip(sorted(data.rglob("*.png")), ["val", *["train"] * 8, "val"], strict=True)]  # fmt: skip
    (data / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    seen: list[Report] = []

    def observe(report: Report) -> None:
        seen.append(report)
        if isinstance(report, StepReport) and report.step == 5:
            assert (begun / "model.safetensors").read_bytes() == kept

    train(run_of(data / "list.csv", begun, resume=True, accept=True, epochs=2), observe, resume=True)
    (validation,) = [report for report in seen if isinstance(report, ValidationReport)]
    assert validation.best


def test_damage_is_reported_once(data: Path, begun: Path) -> None:
    seen: list[Report] = []
    (begun / "training/states/00000004/optimizer.safetensors").unlink()
    train(run_of(data, begun, resume=True), seen.append, resume=True)
    (report,) = [report for report in seen if isinstance(report, DamageReport)]
    assert report.step == 0
    assert report.reason.endswith("(optimizer.safetensors is missing); continuing from step 0, which was saved before")
