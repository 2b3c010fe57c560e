"""Scores by their definitions, written down plainly; bits by the forward pass of the model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from decoders import CLASSES, checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from fitcli.autoregression import next_token_loss
from fitcli.errors import ImageError
from fitcli.evaluation.likelihood import image_bits
from fitcli.evaluation.scores import BINS, classification_scores
from fitcli.images.base import Pixels
from fitcli.images.memory import ArrayReader
from fitcli.runtime import choose_runtime
from fitcli.sequences import shift_right, to_levels, to_sequence

CPU = choose_runtime("cpu", "fp32")


@given(st.integers(2, 5), st.integers(1, 40), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_scores_are_their_definitions(classes: int, images: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.random((images, classes)) + 0.01
    # In sixteenths, so that some are equal.
    chances = np.floor(16 * weights / weights.sum(1, keepdims=True)) / 16
    chances[:, 0] += 1 - chances.sum(1)
    labels = rng.integers(0, classes, images)
    found = classification_scores(chances, labels)
    predicted = chances.argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == labels).mean())
    recalls = [(predicted[labels == k] == k).mean() for k in np.unique(labels)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    confusion = np.zeros((classes, classes), int)
    for label, prediction in zip(labels, predicted, strict=True):
        confusion[label, prediction] += 1
    assert found["confusion"] == confusion.tolist()
    likelihood = np.maximum(chances[np.arange(images), labels], 1e-12)
    assert found["loss"] == pytest.approx(-np.log(likelihood).mean())
    areas = [area(chances[labels == k, k], chances[labels != k, k]) for k in np.unique(labels)]
    assert found["auroc"] == (None if len(areas) == 1 else pytest.approx(np.mean(areas)))


def area(own: np.ndarray[Any, Any], others: np.ndarray[Any, Any]) -> float:
    """The probability that an image of a class gets a higher score than another one; a half where they tie."""
    return float(np.mean([(mine > other) + 0.5 * (mine == other) for mine in own for other in others] or [0]))


def test_calibration_error_weighs_the_gaps_of_its_bins() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 500)
    chances = np.stack([confidence, 1 - confidence], axis=1)
    labels = (rng.random(500) > confidence**2).astype(np.int64)
    right, error = labels == 0, 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert error > 0.1
    assert classification_scores(chances, labels)["calibration_error"] == pytest.approx(error, abs=1e-6)


def noise(height: int, width: int, dtype: Any = np.uint8) -> Pixels:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, 1), dtype=dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("levels", "label"), [(256, None), (16, 2)])
def test_bits_of_an_image_are_the_loss_of_its_sequence(levels: int, label: int | None, dtype: str) -> None:
    made = checkpoint(levels, () if label is None else CLASSES, dtype)
    sequence = made.config.sequence
    assert sequence is not None
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


def test_images_without_bits_are_refused() -> None:
    with pytest.raises(ImageError, match="2 x 3 pixels, the model needs 2 x 4"):
        image_bits(checkpoint(), ArrayReader(noise(3, 2)), CPU)
    with pytest.raises(ImageError, match="needs 6 x 8"):
        image_bits(checkpoint(latent_positions="learned", groups=6), ArrayReader(noise(7, 9)), CPU)
    with pytest.raises(ImageError, match="float32"):
        image_bits(checkpoint(), ArrayReader(np.zeros((8, 6, 1), np.float32)), CPU)
