"""The vector of a crop is what the last layer of the classifier turns into its probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fitcli.device.runtime import choose_runtime
from fitcli.errors import FitError
from fitcli.evaluation.quality.crop_vectors import crop_vectors
from fitcli.images.array_image import ArrayReader
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.load import load_run
from models.encoder import FITClassifier

CPU = choose_runtime("cpu", "fp32")


def pixels_of(channels: int) -> Preprocessing:
    zero = (0.0,) * channels
    return Preprocessing(channels=channels, dtype="uint8", mean=zero, std=(1.0,) * channels, limits=(0, 255))


@pytest.mark.parametrize("side", [16, 40])
def test_the_last_layer_maps_vectors_to_the_probabilities(trained: Path, side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    checkpoint: Checkpoint[FITClassifier] = load_run(trained, CPU)
    vector = torch.tensor(crop_vectors(trained, pixels_of(3), CPU, None)(pixels))
    found = classify_image(checkpoint, ArrayReader(pixels, color=True), CPU).probabilities
    logits = checkpoint.model.head.classify(vector)
    torch.testing.assert_close(logits.softmax(-1), torch.as_tensor(found).float(), rtol=1e-5, atol=1e-6)


def test_runs_of_other_images_are_refused(trained: Path) -> None:
    with pytest.raises(FitError, match="cannot look at images of this run: an image has 5 channels"):
        crop_vectors(trained, pixels_of(5), CPU, None)
