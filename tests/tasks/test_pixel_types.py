"""Every type of pixels that an image can have trains with every task, or is refused before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_runs import first_batch, run_of

from fitcli.errors import DataError
from fitcli.execution.run import run_job
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window
from models.build import build

TASKS: dict[str, dict[str, Any]] = {
    "classify": {"augment": True, "shift_canvas": 5, "token_dropout": 0.2, "skip_background": True},
    "diffusion": {"augment": True, "preset": "nano", "patch": 4, "skip_background": True},
    "autoregressive": {"augment": True, "preset": "nano", "patch": 4, "levels": 4},
}
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


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("task", TASKS)
def test_it_trains(tmp_path: Path, task: str, dtype: str) -> None:
    """One channel: then torch lacks functions for some types."""
    settings = {"task": task, "size": 24, **TASKS[task]}
    run = run_of(data_of(tmp_path / "data", dtype, channels=1), tmp_path / "run", **settings)
    objective, batch = first_batch(run)
    assert batch.patches.dtype == getattr(torch, dtype)
    outcome = run_job(objective.job(build(run.config.model), batch), run.plan)
    assert np.isfinite(float(outcome.loss))


@pytest.mark.parametrize(("task", "dtype"), [*((task, "uint64") for task in TASKS), ("diffusion", "int64"),
                                             ("autoregressive", "int64")])  # fmt: skip
def test_what_cannot_be_trained_or_written_is_refused_before(tmp_path: Path, task: str, dtype: str) -> None:
    with pytest.raises(DataError, match=f"has {dtype} pixels.* convert the images"):
        run_of(data_of(tmp_path / "data", dtype, 1), tmp_path / "run", task=task, **TASKS[task])


@pytest.mark.parametrize("dtype", TYPES)
def test_what_a_model_may_generate_can_be_written(tmp_path: Path, dtype: str) -> None:
    info = ImageInfo(height=8, width=8, channels=1, dtype=np.dtype(dtype))
    with create_image(tmp_path / "image.tif", info) as writer:
        writer.write(Window(0, 0, 8, 8), np.ones((8, 8, 1), dtype))
