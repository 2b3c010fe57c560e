"""Runs with every kind of augmentation: the same to the bit when resumed or streamed, and validated without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.pictures import colored, save
from support.runs import metrics
from support.small_runs import at, first_batch, interrupt, quietly, run_of, two_classes

from fitcli.data.loader import Loader
from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.runs.augmentations import KINDS
from fitcli.runs.config import RunConfig
from fitcli.tasks.registry import find_task
from fitcli.tasks.validation import validation_loader
from fitcli.training.checkpointing.run_record import load_settings
from fitcli.training.execution_choice import largest_step
from fitcli.training.loop import train
from models.build import build

EVERY = ",".join(KINDS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (40, 56))


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", ["classify", "segment", "detect", "diffusion", "autoregressive"])
def test_a_resumed_run_is_the_same(data: Path, tmp_path: Path, task: str) -> None:
    settings: dict[str, Any] = {"task": task, "augment": EVERY, "steps": 3, "patch": 4, "save_every": 1}
    settings |= {"preset": "nano", "size": 16} if task == "autoregressive" else {}
    train(run_of(data, tmp_path / "whole", **settings), quietly)
    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, tmp_path / "parts", **settings), at(1, interrupt))
    resumed = run_of(data, tmp_path / "parts", resume=True)
    assert resumed.settings.augment == load_settings(tmp_path / "whole").augment
    train(resumed, quietly, resume=True)
    losses = [
        [entry["loss"] for entry in metrics(tmp_path / name) if entry["kind"] == "train"] for name in ("whole", "parts")
    ]
    assert losses[0] == losses[1]
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
    assert first == second


def test_the_strengths_of_names_alone_are_kept(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run", steps=1, augment="pathology")
    train(run, quietly)
    kept = load_settings(tmp_path / "run").augment
    assert kept == "flips,light=0.1,colour=0.05,stain=0.2,scale=0.2,blur=1,noise=0.1"
    with pytest.raises(FitError, match=r"--augment: the run was begun with augment = flips,light=.*, not False"):
        run_of(data, tmp_path / "run", resume=True, augment=False)


def test_a_streamed_step_has_the_same_pixels_and_loss(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run", augment=EVERY, size=32)
    objective, batch = first_batch(run)
    again = first_batch(run)[1]
    assert torch.equal(batch.patches, again.patches)
    losses = []
    for plan in (ExecutionPlan(), ExecutionPlan(kind="stream", handful=1)):
        torch.manual_seed(0)
        losses.append(float(run_job(objective.job(build(run.config.model), batch), plan).loss))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_every_epoch_differs_and_every_thread_count_agrees(data: Path, tmp_path: Path) -> None:
    run = run_of(data, tmp_path / "run", augment=EVERY, size=24)
    reading = find_task("classify").objective(run).reading
    few, many = (list(Loader(run.dataset.train, reading, 4, threads).batches(0, 4)) for threads in (1, 4))
    for one, other in zip(few, many, strict=True):
        assert torch.equal(one.patches, other.patches)
    plain = replace(reading, rules=replace(reading.rules, augment=False))
    unchanged = next(Loader(run.dataset.train, plain, 4).batches(0, 1))
    assert unchanged.patches.shape != few[0].patches.shape or not torch.equal(unchanged.patches, few[0].patches)


def test_validation_sees_images_as_they_are(data: Path, tmp_path: Path) -> None:
    found = []
    for name, augment in (("every", EVERY), ("none", False)):
        run = run_of(data, tmp_path / name, augment=augment)
        reading = find_task("classify").objective(run).reading
        found.append([batch.patches for batch in validation_loader(run, run.dataset.validation, reading).fixed()])
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_the_largest_step_has_enlarged_images(data: Path, tmp_path: Path) -> None:
    usual, enlarged = (
        largest_step(run_of(data, tmp_path / name, augment=augment), [(512, 512)]).groups
        for name, augment in (("usual", True), ("enlarged", "scale=1"))
    )
    assert enlarged == 4 * usual
    windows = run_of(data, tmp_path / "windows", augment="scale=1", size=512)
    assert largest_step(windows, [(512, 512)]).groups == usual


def scaled(folder: Path, channels: int, dtype: str = "uint8") -> Path:
    for label in "ab":
        for number in range(3):
            pixels = colored((24, 24), (90,) * channels, number).astype(dtype)
            save(folder / label / f"{number}.tif", pixels, mpp=0.5)
    return folder


def test_the_scales_of_training_are_kept(tmp_path: Path) -> None:
    run = run_of(scaled(tmp_path / "data", 3), tmp_path / "run", augment="scale=0.25")
    pixels = run.config.preprocessing
    assert pixels.mpp == pytest.approx(0.5)
    assert pixels.trained_scales == pytest.approx((0.4, 0.625))
    assert isinstance(run.config, RunConfig)


@pytest.mark.parametrize(
    ("channels", "augment", "message"),
    [
        (1, "flips,colour", "--augment: colour is for images of several channels, and these have 1 channel"),
        (1, "pathology", "--augment: colour is for images of several channels, and these have 1 channel"),
        (4, "stain", "--augment: stain is for images of red, green and blue, and these have 4 channels"),
        (1, "drop", "--augment: drop is for images of several channels"),
    ],
)
def test_what_means_nothing_is_refused_before_training(
    tmp_path: Path, channels: int, augment: str, message: str
) -> None:
    with pytest.raises(FitError, match=message):
        run_of(scaled(tmp_path / "data", channels, "uint16"), tmp_path / "run", augment=augment)
    assert not (tmp_path / "run").exists()


@pytest.mark.walk(2)
@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
@pytest.mark.parametrize(
    ("channels", "augment"), [(1, "flips,light,scale,blur,noise"), (13, "bands,blur"), (4, "aerial")]
)
def test_images_of_other_kinds_train(tmp_path: Path, channels: int, dtype: str, augment: str) -> None:
    folder = tmp_path / "data"
    import zarr

    for label in "ab":
        for number in range(3):
            pixels = np.random.default_rng(number).uniform(0, 4000, (24, 30, channels)).astype(dtype)
            zarr.create_array(folder / label / f"{number}.zarr", data=pixels, dimension_names=("y", "x", "c"))
    run = run_of(folder, tmp_path / "run", steps=2, augment=augment)
    train(run, quietly)
    assert all(np.isfinite(entry["loss"]) for entry in metrics(run.folder) if entry["kind"] == "train")
