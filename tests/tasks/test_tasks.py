"""Training of models that generate: interrupted and resumed it is the same run, randomness has addresses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.pictures import colored, save
from support.runs import assert_same_run, metrics
from support.small_runs import CPU, at, first_batch, interrupt, quietly, run_of, two_classes

from fitcli.data.loader import Loader
from fitcli.errors import DataError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from fitcli.tasks.load import load_run
from fitcli.tasks.registry import find_task
from fitcli.training.loop import train
from fitcli.training.reports import Report, StepReport, ValidationReport
from models.build import build

GENERATING = ["diffusion", "autoregressive"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (24, 16), 4)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", GENERATING)
def test_interrupted_and_resumed_is_the_same_run(data: Path, tmp_path: Path, task: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(run_of(data, whole, task=task), quietly).step == 6
    # In the middle of an epoch, and at its end: the average of the weights goes on where it was.
    for number, step in enumerate((2, 3)):
        with pytest.raises(KeyboardInterrupt):
            train(run_of(data, parts, number > 0, task=task), at(step, interrupt), resume=number > 0)
    train(run_of(data, parts, True, task=task), quietly, resume=True)
    assert_same_run(parts, whole)
    averaged, plain = (load_file(whole / f"last/{name}.safetensors") for name in ("ema", "model"))
    assert any(not torch.equal(averaged[name], plain[name]) for name in plain)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", GENERATING)
def test_accumulated_passes_are_one_large_batch(data: Path, tmp_path: Path, task: str) -> None:
    """Noise, times and dropped classes of an image do not depend on the images beside it."""

    def losses(batch_size: int, accumulate: int) -> list[float]:
        seen: list[Report] = []
        settings: dict[str, Any] = {"task": task, "batch_size": batch_size, "accumulate": accumulate, "steps": 3}
        train(run_of(data, tmp_path / f"{batch_size}x{accumulate}", **settings), seen.append)
        return [report.loss for report in seen if isinstance(report, StepReport)]

    assert losses(4, 1) == pytest.approx(losses(1, 4), rel=1e-4)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", GENERATING)
def test_every_plan_gives_the_same_step(data: Path, tmp_path: Path, task: str) -> None:
    run = run_of(data, tmp_path / "run", task=task)
    objective, batch = first_batch(run)
    model: Any = build(run.config.model)

    def step(plan: ExecutionPlan) -> tuple[float, list[torch.Tensor]]:
        found = find_task(task).objective(replace(run, plan=plan))
        loss = run_job(found.job(model, batch), plan).loss.item()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        model.zero_grad(set_to_none=True)
        return loss, gradients

    loss, gradients = step(ExecutionPlan())
    for plan in (
        ExecutionPlan(kind="layers"),
        ExecutionPlan(kind="recompute", handful=1),
        ExecutionPlan(kind="stream", handful=2),
        ExecutionPlan(kind="stream", handful=1, global_layers="rerun"),
    ):
        other, others = step(plan)
        assert other == pytest.approx(loss, rel=1e-6)
        for mine, theirs in zip(others, gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
    assert objective.job(model, batch) is not None


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", GENERATING)
def test_validation_is_always_the_same_and_by_the_average(data: Path, tmp_path: Path, task: str) -> None:
    seen: list[Report] = []
    train(run_of(data, tmp_path / "run", task=task, size=16, epochs=3), seen.append)
    looks = [report for report in seen if isinstance(report, ValidationReport)]
    assert len(looks) == 3
    again = run_of(data, tmp_path / "run", True, task=task, size=16, epochs=3)
    best = max(looks, key=lambda report: -report.loss)
    found = find_task(task).objective(again).validate(load_run(tmp_path / "run", CPU, ema=True))
    assert (found.loss, found.scores) == (best.loss, best.scores)
    if task == "diffusion":
        assert np.mean(list(found.scores.values())) == pytest.approx(found.loss)
        assert len(found.scores) == 4
    other = find_task(task).objective(again).validate(load_run(tmp_path / "run", CPU, ema=False))
    assert other.loss != found.loss


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", GENERATING)
def test_it_learns(data: Path, tmp_path: Path, task: str) -> None:
    """Images of two colours: better than knowing nothing of them at all."""
    seen: list[Report] = []
    rows = [f"{data / label / f'{number}.png'},{label},train" for label in ("dark", "light") for number in range(2)]
    (tmp_path / "data.csv").write_text("\n".join(["path,label,split", *rows]))
    settings: dict[str, Any] = {"task": task, "steps": 30, "learning_rate": 0.003, "ema": 0.0}
    train(run_of(tmp_path / "data.csv", tmp_path / "run", **settings), seen.append)
    assert not (tmp_path / "run/ema.safetensors").exists()
    losses = [report.loss for report in seen if isinstance(report, StepReport)]
    assert np.mean(losses[-5:]) < (0.8 if task == "diffusion" else 7.0)
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.parametrize("task", GENERATING)
def test_without_classes(data: Path, tmp_path: Path, task: str) -> None:
    for number in range(4):
        save(tmp_path / "loose" / f"{number}.png", colored((24, 16), (60, 80, 70), number))
    loose = run_of(tmp_path / "loose", tmp_path / "run", task=task, epochs=1)
    assert (len(loose.dataset.train), len(loose.dataset.validation)) == (3, 1)
    ignoring = run_of(data, tmp_path / "other", task=task, unconditional=True, epochs=1)
    for run in (loose, ignoring):
        assert run.config.classes == ()
        train(run, quietly)
    with pytest.raises(DataError, match="4 images, but no class folders; move the images into one subfolder per class"):
        run_of(tmp_path / "loose", tmp_path / "third")


def test_lists_without_labels(data: Path, tmp_path: Path) -> None:
    rows = [f"{data / label / f'{number}.png'}" for label in ("dark", "light") for number in range(4)]
    (tmp_path / "data.csv").write_text("\n".join(["path", *rows]))
    run = run_of(tmp_path / "data.csv", tmp_path / "run", task="diffusion")
    assert (run.config.classes, len(run.dataset.train), len(run.dataset.validation)) == ((), 6, 2)
    with pytest.raises(DataError, match="needs the columns path,label"):
        run_of(tmp_path / "data.csv", tmp_path / "run")


def test_loose_images_in_folders_of_splits(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            save(tmp_path / "data" / split / f"{number}.png", colored((24, 16), (60, 80, 70), number))
    run = run_of(tmp_path / "data", tmp_path / "run", task="autoregressive")
    assert (run.config.classes, len(run.dataset.train), len(run.dataset.validation)) == ((), 3, 2)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", GENERATING)
def test_half_precision_and_floats(tmp_path: Path, task: str) -> None:
    """Float images with missing pixels, of sizes that differ, some of them background."""
    for number in range(4):
        pixels = np.random.default_rng(number).normal(3, 2, (40 + 8 * number, 44, 2)).astype(np.float32)
        pixels[:3, :5], pixels[20:] = np.nan, 1.0
        save(tmp_path / "data" / f"{number}.tif", pixels)
    settings: dict[str, Any] = {"task": task, "steps": 2, "precision": "bf16"}
    more = {"skip_background": True} if task == "diffusion" else {"levels": 32}
    run = run_of(tmp_path / "data", tmp_path / "run", **settings, **more)
    assert run.config.preprocessing.limits is not None
    assert run.config.preprocessing.limits[0] < 0 < 6 < run.config.preprocessing.limits[1]
    train(run, quietly)
    assert all(np.isfinite(entry["loss"]) for entry in metrics(tmp_path / "run"))


def test_one_class_is_none(data: Path, tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "data/only" / f"{number}.png", colored((24, 16), (60, 80, 70), number))
    assert run_of(tmp_path / "data", tmp_path / "run", task="diffusion").config.classes == ()


def test_images_that_are_no_sequences(tmp_path: Path) -> None:
    for kind in ("uint16", "float32"):
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 4000, (12, 13, 1)).astype(kind)
            save(tmp_path / kind / f"{number}.tif", pixels)
        with pytest.raises(DataError, match=rf"\.tif: has {kind} pixels.*--levels 256"):
            run_of(tmp_path / kind, tmp_path / "run", task="autoregressive")
        run = run_of(tmp_path / kind, tmp_path / kind / "run", task="autoregressive", levels=8, steps=1)
        train(run, quietly)
    for number in range(3):
        save(tmp_path / "small" / f"{number}.png", colored((24, 3), (1, 2, 3), number))
    with pytest.raises(
        DataError, match=r"3 x 24 pixels do not fill one patch of 4 x 4.*--patch \(and 2 more images too small"
    ):
        run_of(tmp_path / "small", tmp_path / "run", task="autoregressive")
    sequence = run_of(tmp_path / "small", tmp_path / "run", task="autoregressive", patch=3).config.details
    assert isinstance(sequence, SequenceConfig)
    assert sequence.patch == (3, 3)
    run_of(tmp_path / "small", tmp_path / "run", task="diffusion")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "diffusion", "levels": 16}, "--levels is for --task autoregressive, not for diffusion"),
        ({"task": "diffusion", "balance": True}, "--balance is for --task classify"),
        ({"task": "diffusion", "label_smoothing": 0.1}, "--label-smoothing is for --task classify or autoregressive"),
        ({"task": "classify", "unconditional": True}, "--unconditional is for --task diffusion or autoregressive"),
        ({"task": "autoregressive", "shift": 0.0}, "--shift is for --task diffusion"),
        ({"task": "autoregressive", "levels": 1}, "--levels must be at least 2 and at most 256, not 1"),
        ({"task": "diffusion", "class_dropout": 2.0}, "--class-dropout must be at least 0 and at most 1, not 2.0"),
        ({"ema": 1.0}, "--ema must be at least 0 and below 1, not 1.0"),
        ({"patch": 0}, "--patch must be at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(
    data: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(FitError, match=message):
        run_of(data, tmp_path / "run", **settings)


@pytest.mark.parametrize("task", GENERATING)
def test_whole_images_stay_where_they_are_and_windows_may_lie_anywhere(data: Path, tmp_path: Path, task: str) -> None:
    def origins(**settings: Any) -> list[int]:
        run = run_of(data, tmp_path / "run", task=task, **settings)
        loader = Loader(run.dataset.train, find_task(task).objective(run).reading, run.settings.batch_size)
        return [int(batch.groups.coordinates.amin()) for batch in loader.batches(0, 6)]

    assert origins() == origins(size=100) == origins(augment=True) == [0] * 6
    assert len(set(origins(size=16))) > 2
