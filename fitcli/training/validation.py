"""How good a model is on images that it was not trained on, each whole, by the code that `fit classify` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from fitcli.checkpoints import Checkpoint
from fitcli.classification import classify_image
from fitcli.distributed import World, totals
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

T = TypeVar("T")

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
    world: World,
    settings: Settings,
) -> Scores:
    """Classify images and compare with their labels. Processes take turns, and all get the same scores.

    Args:
        checkpoint: The model and what it expects.
        samples: The images, one or more.
        runtime: Device and precision.
        bad_images: Where those that cannot be used are counted.
        world: The processes that share the images.
        settings: How images are read.

    Raises:
        TooManyBadImages: There are more than are put up with.
        DataError: None can be used.
    """
    read = partial(_probabilities, checkpoint, runtime, settings)

    def look() -> list[tuple[int, list[float]]]:
        found = []
        for number in range(world.rank, len(samples), world.size):
            attempt = first_good(read, [samples[number].path], 0)
            bad_images.add(attempt.failed)
            if attempt.result is not None:
                found.append((number, attempt.result.tolist()))
        return found

    # In the order of the samples: sums do not depend on how many processes there are.
    found = sorted(chain.from_iterable(_shared(world, bad_images, look)))
    if not found:
        raise DataError(f"{samples[0].path}: neither this nor any other validation image can be used")
    labels, probabilities = np.array([samples[number].label for number, _ in found]), np.array([p for _, p in found])
    right = probabilities.argmax(axis=1) == labels
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean()
    per_class = [right[labels == label].mean() for label in np.unique(labels)]
    return Scores(float(loss), float(right.mean()), float(np.mean(per_class)))


def shared_sums(run: TrainingRun, look: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What the processes of a run add up, each over its part of the validation images.

    Args:
        run: Which images are bad is told to all of its processes.
        look: Gives sums by name; those of one process. One of them is "patches".

    Raises:
        TooManyBadImages: There are more than are put up with.
        DataError: No image can be used.
    """
    sums = totals(_shared(run.world, run.bad_images, look))
    if not sums["patches"]:
        raise DataError(f"{run.dataset.validation[0].path}: neither this nor any other validation image can be used")
    return sums


def _shared(world: World, bad_images: BadImages, look: Callable[[], T]) -> list[T]:
    """What every process has found, and which images it could not use."""
    found = world.jointly(lambda: {"found": look(), "bad": bad_images.fresh()})
    for each in found:
        bad_images.learn(each["bad"])
    return [each["found"] for each in found]


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
