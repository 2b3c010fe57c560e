"""The training loop: a run that died continues as the same run; the best and the last weights are kept."""

from __future__ import annotations

import importlib
import math
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.pictures import colored, save
from support.runs import assert_same_run, logged, metrics
from support.small_runs import at, die, quietly, run_of, two_classes

from fitcli.data.bad_images import TooManyBadImages
from fitcli.errors import OutOfMemory
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.classify import objective
from fitcli.tasks.classify.validation import Scores
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import TASKS
from fitcli.training import trained_model
from fitcli.training.loop import train
from fitcli.training.reports import (
    BadImageReport,
    BeginReport,
    Report,
    StepReport,
    ValidationReport,
)
from models.build import build


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps, four per epoch."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    progress = train(run_of(data, folder), quietly)
    assert progress.step == 8
    return folder


@pytest.mark.walk(1)
@pytest.mark.parametrize("step", [2, 6])
def test_a_run_that_died_is_the_same_run(data: Path, uninterrupted: Path, tmp_path: Path, step: int) -> None:
    folder = tmp_path / "run"
    with pytest.raises(SystemError):
        train(run_of(data, folder), at(step, die))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    train(run_of(data, folder, resume=True), quietly, resume=True)
    assert_same_run(folder, uninterrupted)


def test_a_run_that_died_leaves_no_thread_behind(data: Path, tmp_path: Path) -> None:
    """Not even while the traceback keeps the frames of the loop alive. Threads that the garbage collector ended, while
    another thread was being started, once blocked a process for ever.
    """
    with pytest.raises(SystemError) as caught:
        train(run_of(data, tmp_path / "run"), at(2, die))
    left = {thread.name for thread in threading.enumerate()}
    assert not [name for name in left if name.startswith(("loader", "joined"))]
    assert caught.tb is not None


def test_resuming_a_finished_run_changes_nothing(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(run_of(data, folder), quietly)
    seen: list[Report] = []
    progress = train(run_of(data, folder, resume=True), seen.append, resume=True)
    assert (progress.step, [type(report) for report in seen]) == (8, [BeginReport])
    assert_same_run(folder, uninterrupted)


def test_the_same_seed_gives_the_same_run(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    train(run_of(data, tmp_path / "same"), quietly)
    assert_same_run(tmp_path / "same", uninterrupted)
    train(run_of(data, tmp_path / "other", seed=1), quietly)
    assert metrics(tmp_path / "other")[0]["loss"] != metrics(uninterrupted)[0]["loss"]


def test_a_run_without_an_estimate_is_introduced_without_memory(data: Path, tmp_path: Path) -> None:
    run = replace(run_of(data, tmp_path / "run"), plan=ExecutionPlan(kind="recompute", handful=1), work=None)
    pixels, classes, hint, scale = run.understood
    assert pixels.startswith("pixels: ")
    assert classes == "classes (training + validation images): dark (4 + 1), light (4 + 1)"
    assert hint.startswith("2 validation images choose the weights to keep")
    assert scale == "scale: unknown"
    assert run.introduction() == (run.summary(), run.settings.defaults_text(), pixels, classes, hint, scale)


def test_reports(data: Path, tmp_path: Path) -> None:
    seen: list[Report] = []
    progress = train(run_of(data, tmp_path / "run", epochs=3), seen.append)
    steps = [report for report in seen if isinstance(report, StepReport)]
    validations = [report for report in seen if isinstance(report, ValidationReport)]
    assert [report.step for report in steps] == list(range(1, 13))
    assert [report.step for report in validations] == [4, 8, 12]
    assert [steps[number].epoch for number in (3, 7, 11)] == [1.0, 2.0, 3.0]
    for step in steps:
        assert math.isfinite(step.loss)
        assert 0 <= step.scores["accuracy"] <= 1
        assert 0 <= step.data_wait <= 1
        assert step.patches_per_second == pytest.approx(4 * step.images_per_second), "24 x 24 pixels are 2 x 2 patches"
    assert progress.best == (-min(report.loss for report in validations),)
    assert len(logged(tmp_path / "run")) == 15
    assert list((tmp_path / "run/tensorboard").glob("events.*"))


def judged(loss: float, accuracy: float) -> Scores:
    return Scores(loss, {"accuracy": accuracy})


HISTORIES: dict[str, tuple[str, list[Scores], int]] = {
    "least loss": ("loss", [judged(0.9, 0.5), judged(0.4, 0.7), judged(0.5, 0.9)], 8),
    "one lucky accuracy": ("loss", [judged(3.0, 1.0), judged(0.2, 0.9), judged(0.3, 0.9)], 8),
    "tie": ("loss", [judged(0.2, 0.5), judged(0.2, 0.9), judged(0.2, 0.7)], 4),
    "earlier versions": ("accuracy", [judged(0.9, 0.5), judged(0.4, 0.9), judged(0.1, 0.7)], 8),
    "tie of accuracies": ("accuracy", [judged(0.9, 0.5), judged(0.4, 0.5), judged(0.5, 0.5)], 8),
}
"""What chooses, the validations of three epochs of four steps, and the step whose weights are kept."""


@pytest.mark.walk
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("death", [None, 6, 10])
def test_the_kept_epoch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: str, death: int | None
) -> None:
    """It is the same if the run dies between two validations and is resumed."""
    best_by, scores, expected = HISTORIES[history]
    last = 0

    def observe(report: Report) -> None:
        nonlocal last
        if isinstance(report, StepReport):
            last = report.step
            if last == death:
                die()

    # The state of the last epoch may not be written yet when the run dies: it then validates that epoch again.
    monkeypatch.setattr(objective, "validate", lambda *_: scores[last // 4 - 1])
    folder, settings = tmp_path / "run", {"epochs": 3, "best_by": best_by}
    if death is None:
        progress = train(run_of(data, folder, **settings), observe)
    else:
        with pytest.raises(SystemError):
            train(run_of(data, folder, **settings), observe)
        death = None
        progress = train(run_of(data, folder, resume=True), observe, resume=True)
    kept = scores[expected // 4 - 1]
    assert (progress.step, progress.best_step) == (12, expected)
    assert progress.headline == ("accuracy", f"{kept.named['accuracy']:.1%}, loss {kept.loss:.3f}")


def test_the_best_model_is_kept_and_the_last_one_too(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([judged(0.9, 0.5), judged(0.1, 0.9), judged(0.4, 0.7), judged(0.5, 0.9)])
    monkeypatch.setattr(objective, "validate", lambda *_: next(scores))
    models: list[Any] = []

    def kept_build(*args: Any, **settings: Any) -> Any:
        models.append(build(*args, **settings))
        return models[0]

    monkeypatch.setattr(trained_model, "build", kept_build)
    folder, kept = tmp_path / "run", []

    def observe(report: Report) -> None:
        if isinstance(report, ValidationReport):
            kept.append(models[0].encoder.latent_norm.weight.detach().clone())

    progress = train(run_of(data, folder, epochs=4, ema=0), observe)
    assert (progress.best, progress.best_step) == ((-0.1,), 8)
    best = load_file(folder / "model.safetensors")["encoder.latent_norm.weight"]
    assert [torch.equal(weights, best) for weights in kept] == [False, True, False, False]
    last = load_file(folder / "last/model.safetensors")["encoder.latent_norm.weight"]
    assert [torch.equal(weights, last) for weights in kept] == [False, False, False, True]


def test_without_validation_the_last_model_is_the_model(data: Path, tmp_path: Path) -> None:
    rows = [f"{data / label / f'{number}.png'},{label},train" for label in ("dark", "light") for number in range(3)]
    (tmp_path / "data.csv").write_text("\n".join(["path,label,split", *rows]))
    progress = train(run_of(tmp_path / "data.csv", tmp_path / "run"), quietly)
    assert progress.summary(tmp_path) == f"{tmp_path}: 6 steps"
    run, last = (load_file(tmp_path / "run" / name) for name in ("model.safetensors", "last/model.safetensors"))
    assert all(torch.equal(run[name], last[name]) for name in run)


def test_nan_and_infinite_pixels_do_not_reach_the_loss(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(3):
            pixels = np.random.default_rng(number).normal(0, 1, (20, 20, 1)).astype(np.float32)
            pixels[:3], pixels[3:5], pixels[5:7] = np.nan, np.inf, -np.inf
            save(tmp_path / "data" / label / f"{number}.tif", pixels)
    train(run_of(tmp_path / "data", tmp_path / "run", epochs=1), quietly)
    assert all(math.isfinite(entry["loss"]) for entry in metrics(tmp_path / "run"))


def test_a_file_that_breaks_is_named_and_the_run_can_continue(data: Path, tmp_path: Path) -> None:
    for label in ("dark", "light"):
        for number in range(3):
            save(tmp_path / "data" / label / f"{number}.png", colored((24, 24), (60, 80, 70), number))
    run = run_of(tmp_path / "data", tmp_path / "run", epochs=3)
    victim = run.dataset.train[0].path
    whole = victim.read_bytes()
    with pytest.raises(TooManyBadImages, match=victim.name):
        train(run, at(1, lambda: victim.write_bytes(b"gone")))
    victim.write_bytes(whole)
    assert train(run_of(tmp_path / "data", tmp_path / "run", resume=True, epochs=3), quietly, resume=True).step == 6


WHOLE = ("classify", "segment", "detect")
"""Tasks that validate whole images, with the code of an encoder."""


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_a_validation_that_runs_out_of_memory_once_gives_the_same_scores(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = two_classes(tmp_path / "data", (200, 136))
    expected = validations(run_of_task(data, tmp_path / "whole", task))
    calls = fail_validations(monkeypatch, task, {1})
    for one, other in zip(validations(run_of_task(data, tmp_path / "run", task)), expected, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
    assert len(calls) > 1


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_a_validation_that_does_not_fit_ends_a_run_that_is_saved(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No image is called bad. The resumed run begins with the validation, and is the run that went through."""
    data = two_classes(tmp_path / "data", (200, 136))
    validations(run_of_task(data, tmp_path / "whole", task))
    run, reports = run_of_task(data, tmp_path / "run", task), list[Report]()
    with monkeypatch.context() as patched:
        fail_validations(patched, task, set(range(1, 100)))
        with pytest.raises(OutOfMemory, match=r"^validation: .*out of memory on cuda .*run was saved, .* --resume$"):
            train(run, reports.append)
    assert not [report for report in reports if isinstance(report, BadImageReport)]
    train(run_of_task(data, run.folder, task, resume=True), quietly, resume=True)
    assert_same_run(run.folder, tmp_path / "whole")


def run_of_task(data: Path, folder: Path, task: str, resume: bool = False) -> TrainingRun:
    """Prepare a run whose images or windows have several groups: of 128, 32 or 4 pixels."""
    size = {"diffusion": 72, "autoregressive": 16}
    return run_of(data, folder, resume, task=task, epochs=1, size=size.get(task))


def validations(run: TrainingRun) -> list[ValidationReport]:
    reports: list[Report] = []
    train(run, reports.append)
    return [report for report in reports if isinstance(report, ValidationReport)]


def fail_validations(monkeypatch: pytest.MonkeyPatch, task: str, which: set[int]) -> list[int]:
    """Let memory run out at the end of some passes of validation, counted from 1; return the list of calls to come."""
    shared = task in WHOLE
    place, function = ("encoding.group_encoder", "stream_encoder") if shared else (f"{task}.objective", "group_losses")
    module, calls = importlib.import_module(f"fitcli.tasks.{place}"), list[int]()
    real = getattr(module, function)

    def limited(*arguments: Any) -> Any:
        calls.append(len(calls) + 1)
        result = real(*arguments)
        if calls[-1] in which:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nMore.")
        return result

    monkeypatch.setattr(module, function, limited)
    return calls
