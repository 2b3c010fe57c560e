"""How good a model is on images that it was not trained on, each whole, by the code that `fit classify` runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fitcli.checkpoints import Checkpoint
from fitcli.classification import classify_image
from fitcli.errors import DataError
from fitcli.features import Settings
from fitcli.images.chunk_cache import LARGEST_BYTES
from fitcli.images.open import open_image
from fitcli.memory.budget import OVERHEAD
from fitcli.memory.estimate import parameters
from fitcli.runtime import Runtime
from fitcli.training.bad_images import BadImages, first_good
from fitcli.training.dataset import Sample
from fitcli.training.run import TrainingRun
from models.encoder import FITClassifier

READING_BYTES = 2 * LARGEST_BYTES
"""Of decoded chunks and latents, that a validation image is given in any case."""


class Scores(NamedTuple):
    """Of a set of images: mean cross-entropy in nats, accuracy, mean accuracy over the classes that occur."""

    loss: float
    accuracy: float
    balanced_accuracy: float


def validate(
    checkpoint: Checkpoint[FITClassifier],
    samples: Sequence[Sample],
    runtime: Runtime,
    bad_images: BadImages,
    settings: Settings,
) -> Scores:
    """Classify images and compare with their labels.

    Args:
        checkpoint: The model and what it expects.
        samples: The images, one or more.
        runtime: Device and precision.
        bad_images: Where those that cannot be used are counted.
        settings: How images are read.

    Raises:
        TooManyBadImages: There are more than are put up with.
        DataError: None can be used.
    """
    found, read = [], partial(_probabilities, checkpoint, runtime, settings)
    for sample in samples:
        attempt = first_good(read, [sample.path], 0)
        bad_images.add(attempt.failed)
        if attempt.result is not None:
            found.append((sample.label, attempt.result))
    if not found:
        raise DataError(f"{samples[0].path}: neither this nor any other validation image can be used")
    labels, probabilities = np.array([label for label, _ in found]), np.stack([row for _, row in found])
    right = probabilities.argmax(axis=1) == labels
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean()
    per_class = [right[labels == label].mean() for label in np.unique(labels)]
    return Scores(float(loss), float(right.mean()), float(np.mean(per_class)))


def _probabilities(
    checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: Settings, path: Path
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    with open_image(path) as image:
        return classify_image(checkpoint, image, runtime, settings).probabilities


def validation_bytes(run: TrainingRun) -> int | None:
    """Of the memory of a run, what its optimizer leaves; None where there is no limit.

    Never so little that a validation image would stop a run whose steps fit: reading takes more than a step does where
    the chunks of an image are large.
    """
    if run.memory_bytes is None:
        return None
    weights = 4 * parameters(run.config.model)
    least = OVERHEAD[run.runtime.device.type] + 2 * weights + READING_BYTES
    # The moments of AdamW. The weights are counted where they are used, gradients are gone.
    return max(least, run.memory_bytes - 2 * weights)
