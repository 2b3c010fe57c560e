"""Scores by their definitions, written down plainly; bits by the forward pass of the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.batches import live
from support.decoders import CLASSES, checkpoint

from fitcli.device.runtime import choose_runtime
from fitcli.errors import CheckpointError, ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import Pixels
from fitcli.noise import group_noise
from fitcli.patches.cutting import groups_of, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.levels import to_levels
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.autoregressive.next_token import next_token_loss
from fitcli.tasks.autoregressive.scores import image_bits
from fitcli.tasks.autoregressive.sequences import sequence_of, shift_right, to_sequence
from fitcli.tasks.classify.scores import BINS, classification_scores
from fitcli.tasks.diffusion.config import DiffusionConfig, diffusion_of
from fitcli.tasks.diffusion.schedules import parse_schedule, shifted
from fitcli.tasks.diffusion.scores import TIMES, image_losses
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser

CPU = choose_runtime("cpu", "fp32")


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_scores_are_their_definitions(classes: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random((images, classes)) + 0.01
    # In sixteenths, so that some are equal.
    probabilities = np.floor(16 * weights / weights.sum(1, keepdims=True)) / 16
    probabilities[:, 0] += 1 - probabilities.sum(1)
    labels = rng.integers(0, classes, images)
    found = classification_scores(probabilities, labels)
    predicted = probabilities.argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == labels).mean())
    recalls = [(predicted[labels == k] == k).mean() for k in np.unique(labels)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    confusion = np.zeros((classes, classes), int)
    for label, prediction in zip(labels, predicted, strict=True):
        confusion[label, prediction] += 1
    assert found["confusion"] == confusion.tolist()
    likelihood = np.maximum(probabilities[np.arange(images), labels], 1e-12)
    assert found["loss"] == pytest.approx(-np.log(likelihood).mean())
    areas = [area(probabilities[labels == k, k], probabilities[labels != k, k]) for k in np.unique(labels)]
    assert found["auroc"] == (None if len(areas) == 1 else pytest.approx(np.mean(areas)))


def area(own: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> float:
    """The probability that an image of a class gets a higher score than another one; a half where they tie."""
    return float(np.mean([(mine > other) + 0.5 * (mine == other) for mine in own for other in others] or [0]))


def test_calibration_error_weighs_the_gaps_of_its_bins() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 500)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    labels = (rng.random(500) > confidence**2).astype(np.int64)
    right, error = labels == 0, 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert error > 0.1
    assert classification_scores(probabilities, labels)["calibration_error"] == pytest.approx(error, abs=1e-6)


def noise(height: int, width: int, dtype: Any = np.uint8) -> Pixels:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, 1), dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("levels", "label"), [(256, None), (16, 2)])
def test_bits_of_an_image_are_the_loss_of_its_sequence(levels: int, label: int | None, dtype: str) -> None:
    made = checkpoint(levels, () if label is None else CLASSES, dtype)
    sequence = sequence_of(made.config)
    pixels = noise(8, 6, dtype)
    targets = to_sequence(to_levels(pixels, levels), sequence.patch, sequence.order)
    labels = None if label is None else torch.tensor([label])
    logits = made.model(shift_right(targets, sequence.first(label)), sequence.groups((8, 6)), labels)
    bits = image_bits(made, ArrayReader(pixels), CPU, label)
    assert bits.dimensions == 48
    # The logits are rounded to float32, whatever the model computes in.
    assert bits.per_dimension == pytest.approx(next_token_loss(logits, targets).item(), rel=1e-6)


def test_ignorance_costs_the_logarithm_of_the_levels() -> None:
    made = checkpoint(16)
    for parameter in (made.model.token_norm.weight, made.model.token_norm.bias, made.model.bias):
        assert parameter is not None
        parameter.zero_()
    assert image_bits(made, ArrayReader(noise(8, 6)), CPU).per_dimension == pytest.approx(math.log2(16))


def test_a_larger_image_is_windows_of_the_trained_size() -> None:
    made = checkpoint(16)
    pixels = noise(13, 9)
    parts = [pixels[:8, :6], pixels[:8, 6:8], pixels[8:12, :6], pixels[8:12, 6:8]]
    expected = [image_bits(made, ArrayReader(part), CPU) for part in parts]
    bits = image_bits(made, ArrayReader(pixels), CPU)
    assert bits.dimensions == sum(part.dimensions for part in expected) == 12 * 8
    assert bits.total == pytest.approx(sum(part.total for part in expected))
    table = checkpoint(16, latent_positions="learned", groups=6)
    assert image_bits(table, ArrayReader(pixels), CPU).dimensions == 48


def test_a_larger_image_is_one_sequence_where_the_model_was_trained_on_whole_images() -> None:
    made = checkpoint(16)
    sequence = sequence_of(made.config)
    pixels = noise(13, 9)
    targets = to_sequence(to_levels(pixels[:12, :8], 16), sequence.patch, sequence.order)
    logits = made.model(shift_right(targets, sequence.first()), sequence.groups((12, 8)))
    bits = image_bits(made, ArrayReader(pixels), CPU, whole=True)
    assert bits.per_dimension == pytest.approx(next_token_loss(logits, targets).item(), rel=1e-6)


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


def test_a_larger_image_is_denoised_in_windows_unless_trained_whole() -> None:
    made, image = denoiser(), ArrayReader(noise(24, 10))
    upper = image_losses(made, ArrayReader(noise(24, 10)[:12]), CPU, 0)
    parts, whole = image_losses(made, image, CPU, 0), image_losses(made, image, CPU, 0, whole=True)
    assert not np.allclose(parts, whole)
    assert not np.allclose(parts, upper)
    with pytest.raises(CheckpointError, match="'autoregressive'"):
        image_losses(checkpoint(), image, CPU, 0)  # type: ignore[arg-type]


def test_images_without_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="2 x 3 pixels, the model needs 2 x 4"):
        image_bits(checkpoint(), ArrayReader(noise(3, 2)), CPU)
    with pytest.raises(ImageError, match="needs 6 x 8"):
        image_bits(checkpoint(latent_positions="learned", groups=6), ArrayReader(noise(7, 9)), CPU)
    with pytest.raises(ImageError, match="float32"):
        image_bits(checkpoint(), ArrayReader(np.zeros((8, 6, 1), np.float32)), CPU)
