"""The errors of enlarged images are those of independent versions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.generators import make_run, photograph

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.patches.resampling import enlarge, shrink
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.diffusion.enlarging_scores import enlarging_errors, psnr
from fitcli.tasks.diffusion.task import TASK as DIFFUSION
from fitcli.tasks.load import load_run

RUNTIME = choose_runtime("cpu", "fp32")
HOW = Enlarging(factor=4, noise=0.05, deviation=0.1)


def test_against_the_pixels_themselves(tmp_path: Path) -> None:
    checkpoint = load_run(make_run(tmp_path / "run", classes=(), enlarging=HOW), RUNTIME, DIFFUSION)
    image = photograph(50, 60)
    errors = enlarging_errors(checkpoint, HOW, image, RUNTIME, 0, None, (2, "host"))
    assert errors is not None
    pixels = image.read(Window(9, 14, 32, 32)).astype(np.float32) / 255
    smaller = shrink(pixels, 4)
    large = enlarge(lambda w: smaller[w.slices()], (8, 8), (32, 32), Window(0, 0, 32, 32)).clip(0, 1)
    assert errors.bicubic == pytest.approx(float(np.square(large - pixels).mean()), rel=1e-4)
    assert errors.bicubic < errors.mean
    assert errors.bicubic < errors.sample, "the weights are random"
    again = enlarging_errors(checkpoint, HOW, image, RUNTIME, 0, None, (100, "disk"))
    assert again == pytest.approx(errors, rel=1e-4)


def test_of_an_image_too_small_to_shrink(tmp_path: Path) -> None:
    checkpoint = load_run(make_run(tmp_path / "run", classes=(), enlarging=HOW), RUNTIME, DIFFUSION)
    image = ArrayReader(np.zeros((3, 9, 3), np.uint8))
    assert enlarging_errors(checkpoint, HOW, image, RUNTIME, 0, None, (2, "host")) is None


def test_decibels() -> None:
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(0.0) == pytest.approx(100)
