"""Losses of an image by the forward pass of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.batches import live
from support.decoders import CLASSES, checkpoint

from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError, ImageError, OutOfMemory
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import Pixels
from fitcli.noise import group_noise
from fitcli.patches.cutting import groups_of, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.diffusion import scores
from fitcli.tasks.diffusion.config import DiffusionConfig, diffusion_of
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.scores import TIMES, image_losses
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser

CPU = choose_runtime("cpu", "fp32")


def noise(height: int, width: int, dtype: Any = np.uint8) -> Pixels:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, 1), dtype=dtype)


def denoiser(classes: tuple[str, ...] = (), **changes: Any) -> Checkpoint[FITDenoiser]:
    """Of grey images of 12 x 10 pixels, in float32."""
    diffusion = DiffusionConfig(patch=2, size=(12, 10), scale=0.7, shift=-1.0, **changes)
    model = DenoiserConfig(
        plan="(1)1(1)", tokens=4, latents=2, token_width=16, latent_width=24, token_heads=2, latent_heads=3, values=4,
        out_values=4, condition_width=len(classes) or None, self_condition=diffusion.self_condition_rate > 0,
    )  # fmt: skip
    pixels = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,))
    config = RunConfig(model=model, preprocessing=pixels, classes=classes, details=diffusion)
    return Checkpoint(live(model, torch.float32), config)


@pytest.mark.walk
@pytest.mark.parametrize("label", [None, 1])
@pytest.mark.parametrize("rate", [0.0, 0.9])
@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_losses_are_those_of_the_network_run_plainly(prediction: str, rate: float, label: int | None) -> None:
    made = denoiser(() if label is None else CLASSES, prediction=prediction, self_condition_rate=rate)
    diffusion, model = diffusion_of(made.config), made.model
    pixels, expected = noise(12, 10), []
    grid = PatchGrid((12, 10), 2, 2)
    groups = groups_of(grid)
    data = (to_patches(pixels, grid).float() / 255 * 2 - 1) * 0.7
    condition = None if label is None else torch.eye(3)[label][None, None]
    for index, time in enumerate(TIMES):
        drawn = group_noise(0, f"evaluation {index} of window 0", range(9), (4, 4), image=5)
        gamma = shifted(parse_schedule(diffusion.schedule), diffusion.shift)(torch.tensor([time]))
        noisy = gamma.sqrt() * data + (1 - gamma).sqrt() * drawn
        wanted = drawn if prediction == "eps" else gamma.sqrt() * drawn - (1 - gamma).sqrt() * data
        found = model(noisy, groups, gamma, condition)
        if rate:
            found = model(noisy, groups, gamma, condition, found.latents)
        error = (found.tokens - wanted).square().mean(-1)
        expected.append(float(error.mean() if groups.mask is None else error[groups.mask].mean()))
    losses = image_losses(made, ArrayReader(pixels), CPU, 5, label)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_missing_pixels_do_not_count() -> None:
    made, pixels = denoiser(prediction="eps", self_condition_rate=0.0), np.maximum(noise(12, 10), 1)
    rules = replace(made.config.preprocessing, rules=2, mean=(120.0,), std=(60.0,), limits=(0.0, 255.0))
    made = replace(made, config=replace(made.config, preprocessing=rules))
    missing = np.zeros(pixels.shape, bool)
    missing[3:9, 1:6] = True
    filled = np.where(missing, 120, pixels).astype(np.uint8)
    grid = PatchGrid((12, 10), 2, 2)
    data = (to_patches(filled, grid).float() / 255 * 2 - 1) * 0.7
    groups, present = groups_of(grid), to_patches(~missing, grid)
    diffusion, expected = diffusion_of(made.config), []
    for index, time in enumerate(TIMES):
        drawn = group_noise(0, f"evaluation {index} of window 0", range(9), (4, 4), image=5)
        gamma = shifted(parse_schedule(diffusion.schedule), diffusion.shift)(torch.tensor([time]))
        noisy = gamma.sqrt() * data + (1 - gamma).sqrt() * drawn
        error = (made.model(noisy, groups, gamma, None).tokens - drawn).square()
        counted = present if groups.mask is None else present & groups.mask[..., None]
        expected.append(float(error[counted].mean()))
    marked = ArrayReader(np.where(missing, 0, filled).astype(np.uint8), nodata=0)
    np.testing.assert_allclose(image_losses(made, marked, CPU, 5), expected, rtol=1e-4)
    with pytest.raises(ImageError, match="missing pixels only"):
        image_losses(made, ArrayReader(np.zeros_like(pixels), nodata=0), CPU, 5)


def test_a_larger_image_is_denoised_in_windows_unless_trained_whole() -> None:
    made, image = denoiser(), ArrayReader(noise(24, 10))
    upper = image_losses(made, ArrayReader(noise(24, 10)[:12]), CPU, 0)
    parts, whole = image_losses(made, image, CPU, 0), image_losses(made, image, CPU, 0, whole=True)
    assert not np.allclose(parts, whole)
    assert not np.allclose(parts, upper)
    with pytest.raises(CheckpointError, match="'autoregressive'"):
        image_losses(checkpoint(), image, CPU, 0)  # type: ignore[arg-type]


@pytest.mark.more
def test_memory_that_runs_out_is_one_more_pass_with_half_the_handful(monkeypatch: pytest.MonkeyPatch) -> None:
    made, passes, failures, real = denoiser(), list[int](), set[int](), scores.group_losses

    def limited(*arguments: Any) -> Any:
        passes.append(next(each.handful for each in arguments if hasattr(each, "handful")))
        result = real(*arguments)
        if len(passes) in failures:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return result

    def score() -> Any:
        passes.clear()
        return image_losses(made, ArrayReader(noise(24, 20)), CPU, 0, whole=True)

    monkeypatch.setattr(scores, "group_losses", limited)
    expected = score()
    whole = passes[0]
    failures.add(1)
    assert score() == pytest.approx(expected, rel=1e-5)
    assert passes[:2] == [whole, whole // 2]
    failures.add(2)
    with pytest.raises(OutOfMemory, match="out of memory on cuda"):
        score()
