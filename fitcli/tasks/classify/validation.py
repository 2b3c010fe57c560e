"""Scores a classifier on whole validation images, with the code of `fit classify`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fitcli.data.bad_images import BadImages, first_good
from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.distributed.world import World
from fitcli.errors import DataError
from fitcli.images.read_as import open_as
from fitcli.runs.targets import Target, slices
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.class_targets import padded
from fitcli.tasks.classify.calibration import EnlargedLosses, choose_sharpening, enlarged_losses
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.losses import multi_hot
from fitcli.tasks.classify.thresholds import Thresholds, choose_thresholds, held_classes
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.validation import gather_scores
from models.encoder import FITClassifier
from models.sharpening import PLAIN, Sharpening

Probabilities = NDArray[np.float64]


class Scores(NamedTuple):
    """Scores of a set of images.

    Attributes:
        loss: Mean cross-entropy, in nats.
        accuracy: Share of the images that are classified correctly, in all classes for a multi-label target. With
            several targets, the mean over them.
        balanced_accuracy: Mean accuracy over the classes that occur. With several targets, the mean over them.
        targets: Accuracy of each target by name, and their mean; None for one class per image.
        thresholds: Best thresholds on these images.
        sharpening: Factors of the pooling scores for larger images, see `calibration.py`.
    """

    loss: float
    accuracy: float
    balanced_accuracy: float
    targets: dict[str, float] | None = None
    thresholds: Thresholds = {}  # noqa: RUF012  (a NamedTuple, whose defaults are never changed)
    sharpening: Sharpening = PLAIN


def validate(
    checkpoint: Checkpoint[FITClassifier],
    samples: Sequence[Sample],
    runtime: Runtime,
    bad_images: BadImages,
    world: World,
    settings: EncodingSettings,
) -> Scores:
    """Classify images and compare with their classes. Processes take turns, and all get the same scores.

    Args:
        checkpoint: The model.
        samples: The images, one or more.
        runtime: Device and precision.
        bad_images: Counter of unusable images.
        world: The processes that share the images.
        settings: Settings with which images are read.

    Raises:
        TooManyBadImages: More images than allowed are unusable.
        OutOfMemory: An image needs more memory than there is.
        DataError: No image is usable.
    """

    def classify_own() -> list[tuple[int, list[list[float]], EnlargedLosses]]:
        results = []
        for number in range(world.rank, len(samples), world.size):
            read = partial(_classified, checkpoint, runtime, settings, samples[number].target)
            attempt = first_good(read, [samples[number].path], 0)
            bad_images.add(attempt.failed)
            if attempt.result is not None:
                results.append((number, *attempt.result))
        return results

    # The order of the samples makes the sums independent of the number of processes.
    results = sorted(chain.from_iterable(gather_scores(world, bad_images, classify_own)))
    if not results:
        raise DataError(f"{samples[0].path}: neither this nor any other validation image can be used")
    config = checkpoint.config
    usable, rows = [samples[number] for number, *_ in results], [row for _, row, _ in results]
    scores = _scores(usable, rows, config.targets)
    return scores._replace(
        thresholds=_thresholds(usable, rows, config.class_targets, several=bool(config.targets)),
        sharpening=choose_sharpening([enlarged for *_, enlarged in results]),
    )


def _thresholds(
    samples: Sequence[Sample], rows: Sequence[list[list[float]]], targets: Sequence[Target], several: bool
) -> Thresholds:
    probabilities = [np.array([row[number] for row in rows]) for number in range(len(targets))]
    parts = slices(targets)
    held = held_classes([sample.target if several else (sample.target,) for sample in samples], parts[-1].stop)
    return choose_thresholds(targets, probabilities, [held[:, part] for part in parts])


def _scores(samples: Sequence[Sample], rows: Sequence[list[list[float]]], targets: Sequence[Target]) -> Scores:
    """Score the probabilities of each image, by target, against its classes."""
    probabilities = [np.array([row[number] for row in rows]) for number in range(len(rows[0]))]
    if not targets:
        return _single_label_scores(probabilities[0], np.array([sample.target for sample in samples]))
    held = multi_hot(padded([sample.target for sample in samples]), slices(targets)[-1].stop).numpy()
    each = [
        _single_label_scores(own, held[:, part].argmax(axis=1))
        if target.is_single
        else _multi_label_scores(own, held[:, part] > 0)
        for target, part, own in zip(targets, slices(targets), probabilities, strict=True)
    ]
    loss, accuracy, balanced = (float(np.mean([scores[number] for scores in each])) for number in range(3))
    return Scores(loss, accuracy, balanced, named_accuracies(targets, [scores.accuracy for scores in each]))


def named_accuracies(targets: Sequence[Target], accuracies: Sequence[float]) -> dict[str, float]:
    """Return the accuracy of each target by name, and their mean."""
    return {"accuracy": sum(accuracies) / len(accuracies)} | {
        f"accuracy_{target.name}": accuracy for target, accuracy in zip(targets, accuracies, strict=True)
    }


def _single_label_scores(probabilities: Probabilities, labels: NDArray[np.int64]) -> Scores:
    """Return the scores from probabilities [i k] and the class [i] of each image."""
    correct = probabilities.argmax(axis=1) == labels
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean()
    per_class = [correct[labels == label].mean() for label in np.unique(labels)]
    return Scores(float(loss), float(correct.mean()), float(np.mean(per_class)))


def _multi_label_scores(probabilities: Probabilities, held: NDArray[np.bool_]) -> Scores:
    """Return the scores from probabilities [i k] and whether each class holds, [i k], balanced over yes and no."""
    loss = -np.log(np.maximum(np.where(held, probabilities, 1 - probabilities), 1e-12)).sum(axis=1).mean()
    predicted = probabilities > 0.5
    recalls = [(predicted == held)[held == value].mean() for value in (False, True) if (held == value).any()]
    return Scores(float(loss), float((predicted == held).all(axis=1).mean()), float(np.mean(recalls)))


def _classified(
    checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: EncodingSettings, answer: Any, path: Path
) -> tuple[list[list[float]], EnlargedLosses]:
    """Return the probabilities of an image by target, and its losses if it were larger."""
    enlarged: list[EnlargedLosses] = []

    def enlarge(latents: Tensor) -> None:
        enlarged.append(enlarged_losses(checkpoint.model.head, latents, answer, checkpoint.config.targets))

    with open_as(path, checkpoint.config.preprocessing.read_as) as image:
        result = classify_image(checkpoint, image, runtime, settings, take_latents=enlarge)
    return [each.tolist() for each in result.target_probabilities], enlarged[0]
