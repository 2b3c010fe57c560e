"""How good a model is on images that it was not trained on, each whole, by the code that `fit classify` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from fitcli.data.bad_images import BadImages, first_good
from fitcli.data.batch import padded
from fitcli.data.dataset import Sample
from fitcli.data.loader import Loader
from fitcli.data.read_item import Layout
from fitcli.device.runtime import Runtime
from fitcli.distributed.world import World, totals
from fitcli.errors import DataError
from fitcli.images.chunk_cache import LARGEST_BYTES
from fitcli.images.open import open_image
from fitcli.memory.budget import OVERHEAD
from fitcli.memory.estimate import parameters
from fitcli.runs.targets import Target, slices
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.losses import multi_hot
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.encoding.encode import EncodingSettings
from models.encoder import FITClassifier

T = TypeVar("T")

Probabilities = NDArray[np.float64]

Chances = tuple[Probabilities, ...]
"""Of the classes of each task."""

READING_BYTES = 2 * LARGEST_BYTES
"""Of decoded chunks and latents, that a validation image is given in any case."""


class Scores(NamedTuple):
    """Of a set of images: mean cross-entropy in nats, accuracy, mean accuracy over the classes that occur.

    With several tasks their means; where any number of classes holds, an image counts as right where all of them are.
    `tasks` then has the accuracy of each.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    tasks: dict[str, float] | None = None


def validate(
    checkpoint: Checkpoint[FITClassifier],
    samples: Sequence[Sample],
    runtime: Runtime,
    bad_images: BadImages,
    world: World,
    settings: EncodingSettings,
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
    read = partial(_chances, checkpoint, runtime, settings)

    def look() -> list[tuple[int, list[list[float]]]]:
        found = []
        for number in range(world.rank, len(samples), world.size):
            attempt = first_good(read, [samples[number].path], 0)
            bad_images.add(attempt.failed)
            if attempt.result is not None:
                found.append((number, [chances.tolist() for chances in attempt.result]))
        return found

    # In the order of the samples: sums do not depend on how many processes there are.
    found = sorted(chain.from_iterable(_shared(world, bad_images, look)))
    if not found:
        raise DataError(f"{samples[0].path}: neither this nor any other validation image can be used")
    seen, tasks = [samples[number] for number, _ in found], checkpoint.config.tasks
    chances = [np.array([each[task] for _, each in found]) for task in range(len(found[0][1]))]
    if not tasks:
        return _score(chances[0], np.array([sample.label for sample in seen]))
    held = multi_hot(padded([sample.targets for sample in seen]), slices(tasks)[-1].stop).numpy()
    each = [
        _score(given, held[:, part].argmax(axis=1)) if task.is_single else _score_all(given, held[:, part] > 0)
        for task, part, given in zip(tasks, slices(tasks), chances, strict=True)
    ]
    loss, accuracy, balanced = (float(np.mean([scores[n] for scores in each])) for n in range(3))
    named = named_accuracies(tasks, [scores.accuracy for scores in each])
    return Scores(loss, accuracy, balanced, named)


def named_accuracies(tasks: Sequence[Target], accuracies: Sequence[float]) -> dict[str, float]:
    """Of each task by its name, and their mean."""
    return {"accuracy": sum(accuracies) / len(accuracies)} | {
        f"accuracy_{task.name}": accuracy for task, accuracy in zip(tasks, accuracies, strict=True)
    }


def _score(chances: Probabilities, labels: NDArray[np.int64]) -> Scores:
    """[i k] and the class [i] that holds."""
    right = chances.argmax(axis=1) == labels
    loss = -np.log(np.maximum(chances[np.arange(len(labels)), labels], 1e-12)).mean()
    per_class = [right[labels == label].mean() for label in np.unique(labels)]
    return Scores(float(loss), float(right.mean()), float(np.mean(per_class)))


def validation_loader(run: TrainingRun, samples: Sequence[Sample], layout: Layout) -> Loader:
    """Reads validation images as they are, each on one of the processes of a run."""
    return Loader(
        samples,
        replace(run.settings, augment=False),
        run.config.preprocessing,
        layout,
        bad_images=run.bad_images,
        share=run.world.everyone,
    )


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
    found = world.gather_results(lambda: {"found": look(), "bad": bad_images.fresh()})
    for each in found:
        bad_images.learn(each["bad"])
    return [each["found"] for each in found]


def _score_all(chances: Probabilities, held: NDArray[np.bool_]) -> Scores:
    """[i k] and whether each class holds; the balanced accuracy is that of yes and no, over the classes."""
    loss = -np.log(np.maximum(np.where(held, chances, 1 - chances), 1e-12)).sum(axis=1).mean()
    said = chances > 0.5
    recalls = [(said == held)[held == answer].mean() for answer in (False, True) if (held == answer).any()]
    return Scores(float(loss), float((said == held).all(axis=1).mean()), float(np.mean(recalls)))


def _chances(
    checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: EncodingSettings, path: Path
) -> Chances:
    with open_image(path) as image:
        return classify_image(checkpoint, image, runtime, settings).chances


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
