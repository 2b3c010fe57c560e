"""The deviation of images from their smaller versions is that of an independent version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.pictures import save
from support.small_runs import run_of

from fitcli.errors import DataError
from fitcli.tasks.diffusion.deviation import LEAST, measure_deviation


def saved(folder: Path, pixels: list[np.ndarray]) -> Path:
    for number, each in enumerate(pixels):
        save(folder / "a" / f"{number}.png", each)
    return folder


def test_of_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = saved(tmp_path / "data", [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(6)])
    run = run_of(data, tmp_path / "run", task="diffusion", unconditional=True)
    found = measure_deviation(run.dataset, run.config.preprocessing, 4)
    values = torch.rand(1, 3, 256, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    large = F.interpolate(F.avg_pool2d(values, 4), scale_factor=4, mode="bicubic", antialias=True)
    assert found == pytest.approx(float((values - large).std()), rel=0.02)


def test_plain_images_have_a_least_one(tmp_path: Path) -> None:
    data = saved(tmp_path / "data", [np.full((32, 32, 3), 10 * number, np.uint8) for number in range(6)])
    run = run_of(data, tmp_path / "run", task="diffusion", unconditional=True)
    assert measure_deviation(run.dataset, run.config.preprocessing, 4) == LEAST


def test_images_too_small_to_shrink_are_refused(tmp_path: Path) -> None:
    data = saved(tmp_path / "data", [np.full((3, 3, 3), 10 * number, np.uint8) for number in range(6)])
    run = run_of(data, tmp_path / "run", task="diffusion", unconditional=True)
    with pytest.raises(DataError, match="has no 4 x 4 pixels to shrink for --enlarge 4"):
        measure_deviation(run.dataset, run.config.preprocessing, 4)
