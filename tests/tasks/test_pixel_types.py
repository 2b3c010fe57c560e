"""Every type of pixels that an image can have trains with every task, or is refused before training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.runs import metrics
from support.small_runs import CPU, first_batch, quietly, run_of

from fitcli.data.dataset import Sample, load_dataset
from fitcli.errors import DataError
from fitcli.execution.run import run_job
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.registry import find_task
from fitcli.training.loop import train
from models.build import build

TASKS: dict[str, dict[str, Any]] = {
    "classify": {"augment": True, "shift_canvas": 5, "token_dropout": 0.2, "skip_background": True},
    "diffusion": {"augment": True, "preset": "nano", "patch": 4, "skip_background": True},
    "autoregressive": {"augment": True, "preset": "nano", "patch": 4, "levels": 4},
}
SEGMENT = {
    "segment": {"augment": True, "shift_canvas": 5, "skip_background": True, "patch": 4},
    "detect": {"augment": True, "shift_canvas": 5, "patch": 4},
}
"""The values of missing pixels do not change what these read, but labels and objects there do not count."""

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")


def data_of(folder: Path, dtype: str, channels: int) -> Path:
    """Two classes of three images of 40 x 56 pixels, as zarr arrays, which take every type."""
    import zarr

    rng = np.random.default_rng(0)
    for label, low in (("a", 0), ("b", 20)):
        for number in range(3):
            pixels = rng.integers(low, low + 100, (40, 56, channels)).astype(dtype)
            array = zarr.create_array(folder / label / f"{number}.zarr", data=pixels, dimension_names=("y", "x", "c"))
            assert array.dtype == dtype
    return folder


@pytest.mark.walk
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("task", TASKS | SEGMENT)
def test_it_trains(tmp_path: Path, task: str, dtype: str) -> None:
    """One channel: then torch lacks functions for some types."""
    settings = {"task": task, "size": 24, **(TASKS | SEGMENT)[task]}
    run = run_of(data_of(tmp_path / "data", dtype, channels=1), tmp_path / "run", **settings)
    objective, batch = first_batch(run)
    assert batch.patches.dtype == getattr(torch, dtype)
    outcome = run_job(objective.job(build(run.config.model), batch), run.plan)
    assert np.isfinite(float(outcome.loss))


@pytest.mark.parametrize(("task", "dtype"), [*((task, "uint64") for task in TASKS | SEGMENT), ("diffusion", "int64"),
                                             ("autoregressive", "int64")])  # fmt: skip
def test_what_cannot_be_trained_or_written_is_refused_before(tmp_path: Path, task: str, dtype: str) -> None:
    with pytest.raises(DataError, match=f"has {dtype} pixels.* convert the images"):
        run_of(data_of(tmp_path / "data", dtype, 1), tmp_path / "run", task=task, **(TASKS | SEGMENT)[task])


@pytest.mark.parametrize("dtype", TYPES)
def test_what_a_model_may_generate_can_be_written(tmp_path: Path, dtype: str) -> None:
    info = ImageInfo(height=8, width=8, channels=1, dtype=np.dtype(dtype))
    with create_image(tmp_path / "image.tif", info) as writer:
        writer.write(Window(0, 0, 8, 8), np.ones((8, 8, 1), dtype))


def half_missing(folder: Path, dtype: str, nodata: float | None, fill: float) -> Path:
    """Two classes of three images of 40 x 56 pixels of 40 ... 60, half of each `fill`."""
    for label in ("a", "b"):
        for number in range(3):
            pixels = np.random.default_rng([number, label == "b"]).integers(40, 61, (40, 56, 1)).astype(dtype)
            pixels[:, :30] = np.array(fill).astype(dtype)
            path = folder / label / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            info = ImageInfo(height=40, width=56, channels=1, dtype=np.dtype(dtype), nodata=nodata)
            with create_image(path, info, compression="deflate") as writer:
                writer.write(Window(0, 0, 40, 56), pixels)
    return folder


NODATA = [("uint8", 0), ("uint16", 65535), ("int16", -9999), ("float16", -9999), ("float32", -3.4028234663852886e38),
          ("float32", float("nan")), ("float64", -9999)]  # fmt: skip


@pytest.mark.walk(4)
@pytest.mark.parametrize(("dtype", "nodata"), NODATA)
@pytest.mark.parametrize("task", TASKS)
def test_missing_pixels_are_the_mean_to_every_task(tmp_path: Path, task: str, dtype: str, nodata: float) -> None:
    """A step sees the images as if their missing pixels had the mean of the others. Scores of pixels leave them out."""
    settings = {"task": task, **TASKS[task], "augment": False}
    settings.pop("skip_background", None)
    marked, plain = (tmp_path / name for name in ("marked", "plain"))
    run = run_of(half_missing(marked, dtype, nodata, nodata), tmp_path / "run", **settings)
    (mean,) = run.config.preprocessing.mean
    assert mean == pytest.approx(50, abs=2)
    filled = half_missing(plain, dtype, None, mean if dtype.startswith("float") else round(mean))
    objective, batch = first_batch(run)
    other = replace(run, dataset=load_dataset(filled, find_task(task).labels))
    expected = first_batch(other)[1]
    assert torch.equal(batch.patches, expected.patches)
    model = build(run.config.model).eval()
    outcomes = [float(run_job(objective.job(model, each), run.plan).loss) for each in (batch, expected)]
    assert outcomes[0] == outcomes[1]
    assert np.isfinite(outcomes[0])
    scores = []
    for folder in (marked, plain):
        scorer = find_task(task).scorer(Checkpoint(model, run.config), CPU, EncodingSettings(), False)
        with open_image(folder / "a" / "0.tif") as image:
            scores.append(scorer.score(image, Sample(image.path, 0), 0))
    # A score of the image does not depend on how its missing pixels are known; a score of pixels counts half as many.
    assert (str(scores[0]) == str(scores[1])) == (task == "classify")


@pytest.mark.walk(3)
@pytest.mark.parametrize(("dtype", "nodata"), NODATA)
def test_validation_and_evaluation_count_the_same_pixels(tmp_path: Path, dtype: str, nodata: float) -> None:
    data = half_missing(tmp_path / "data", dtype, nodata, nodata)
    run = run_of(data, tmp_path / "run", task="autoregressive", **TASKS["autoregressive"])
    checkpoint = Checkpoint(build(run.config.model).eval(), run.config)
    scorer = find_task("autoregressive").scorer(checkpoint, CPU, EncodingSettings(), False)
    scored = []
    for sample in run.dataset.validation:
        with open_image(sample.path) as image:
            scored.append(scorer.score(image, sample, 0))
    assert {dimensions for _, dimensions in scored} == {40 * 26}, "26 of 56 columns are present"
    found = find_task("autoregressive").objective(run).validate(checkpoint)
    assert found.loss == pytest.approx(sum(bits for bits, _ in scored) / (len(scored) * 40 * 26), rel=1e-4)


def bright_and_dark(folder: Path, kind: str) -> Path:
    """Two classes of ten noisy images that differ in brightness, stored in a way that once failed."""
    for label, brightness in (("a", 100), ("b", 156)):
        for number in range(10):
            rng = np.random.default_rng([number, brightness])
            shades = brightness + 24 * rng.standard_normal((64, 64, 1))
            pixels, nodata = STORED[kind](shades, number)
            info = ImageInfo(height=64, width=64, channels=1, dtype=pixels.dtype, nodata=nodata)
            (folder / label).mkdir(parents=True, exist_ok=True)
            with create_image(folder / label / f"{number}.tif", info, compression="deflate") as writer:
                writer.write(Window(0, 0, 64, 64), pixels)
    return folder


def elevation(shades: Pixels, number: int) -> tuple[Pixels, float]:
    """Half of the pixels are missing: the upper or the left half."""
    pixels = (1000 + shades / 3).astype(np.float32)
    if number % 2:
        pixels[:32] = -9999
    else:
        pixels[:, :32] = -9999
    return pixels, -9999


def with_hot_pixel(shades: Pixels, number: int) -> tuple[Pixels, None]:
    pixels = shades.astype(np.float32)
    if number == 3:
        pixels[10, 10] = 3e38
    return pixels, None


def of_either_depth(shades: Pixels, number: int) -> tuple[Pixels, None]:
    if number % 2:
        return (shades * 4095 / 255).clip(0, 4095).astype(np.uint16), None
    return shades.clip(0, 255).astype(np.uint8), None


STORED: dict[str, Callable[[Pixels, int], tuple[Pixels, float | None]]] = {
    "elevation": elevation,
    "tiny": lambda shades, number: ((shades * 1e-8).astype(np.float32), None),
    "counts": lambda shades, number: ((1e9 + shades / 14).round().astype(np.int32), None),
    "hot pixel": with_hot_pixel,
    "either depth": of_either_depth,
}


@pytest.mark.walk(1)
@pytest.mark.parametrize("kind", STORED)
def test_it_learns(tmp_path: Path, kind: str) -> None:
    data = bright_and_dark(tmp_path / "data", kind)
    run = run_of(data, tmp_path / "run", epochs=8, batch_size=4, augment=False, learning_rate=0.003)
    best = max(entry["accuracy"] for entry in trained(run) if entry["kind"] == "validation")
    assert best == 1.0


def trained(run: TrainingRun) -> list[dict[str, Any]]:
    """Train a run and return its log."""
    train(run, quietly)
    return metrics(run.folder)
