"""Scores a classifier on whole validation images, with the code of `fit classify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from fitcli.data.bad_images import BadImages
from fitcli.data.dataset import Sample
from fitcli.device.runtime import Runtime
from fitcli.distributed.world import World
from fitcli.errors import DataError
from fitcli.images.read_as import open_as
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.runs.weights import Checkpoint
from fitcli.tasks.classify.calibration import EnlargedLosses, choose_sharpening, enlarged_losses
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.image_losses import image_loss
from fitcli.tasks.classify.options import BestBy
from fitcli.tasks.classify.targets.kinds import kind_of, known_answers
from fitcli.tasks.classify.thresholds import Thresholds, choose_thresholds, held_classes
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.validation import score_by_turns
from models.encoder import FITClassifier
from models.pooling import AttentionPool
from models.sharpening import PLAIN, Sharpening


class Scores(NamedTuple):
    """Scores of a set of images.

    Attributes:
        loss: Mean loss, over the targets if there are several; cross-entropy in nats for classes.
        named: Other scores by name. `accuracy` is the share of the images that are classified correctly, in all classes
            for a multi-label target, and `balanced_accuracy` the mean accuracy over the classes that occur; with
            several targets, the mean over those that name classes. With several targets, also the scores of each, as
            SCORE_TARGET.
        thresholds: Best thresholds on these images, for targets that name classes.
        sharpening: Factors of the pooling scores for larger images, see `calibration.py`.
        losses: Loss of each image by its number; those that cannot be used have none.
    """

    loss: float
    named: dict[str, float]
    thresholds: Thresholds = {}  # noqa: RUF012  (a NamedTuple, whose defaults are never changed)
    sharpening: Sharpening = PLAIN
    losses: Mapping[int, float] = {}

    def headline(self) -> tuple[str, str]:
        """Return name and value of the most important score: the accuracy, or the first score of the first target."""
        name, value = next(iter(self.named.items()), ("loss", self.loss))
        text = f"{value:.1%}" if name == "accuracy" else f"{value:.4g}"
        return name, text if name == "loss" else f"{text}, loss {self.loss:.3f}"

    def rank(self, best_by: BestBy) -> tuple[float, ...]:
        """Return the quality of the model, greater for a better one: by the loss, or by accuracy and then the loss."""
        return (-self.loss,) if best_by == "loss" else (self.named["accuracy"], -self.loss)


def validate(
    checkpoint: Checkpoint[FITClassifier],
    samples: Sequence[Sample],
    runtime: Runtime,
    bad_images: BadImages,
    world: World,
    settings: EncodingSettings,
) -> Scores:
    """Classify images and compare with their answers. Processes take turns, and all get the same scores.

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
    results = score_by_turns(samples, bad_images, world, partial(_classified, checkpoint, runtime, settings))
    if not results:
        raise DataError(f"{samples[0].path}: neither this nor any other validation image can be used")
    usable, rows = [samples[number] for number, _ in results], [row for _, (row, _) in results]
    sharpening = choose_sharpening([each for _, (_, enlarged) in results for each in enlarged])
    targets = checkpoint.config.class_targets
    answers = [sample.target if checkpoint.config.targets else ((sample.target,),) for sample in usable]
    losses = {n: image_loss(targets, row, own) for (n, _), row, own in zip(results, rows, answers, strict=True)}
    return _scores(usable, rows, checkpoint.config)._replace(sharpening=sharpening, losses=losses)


def _scores(samples: Sequence[Sample], rows: Sequence[list[list[float]]], config: RunConfig) -> Scores:
    """Score the predictions of each image, by target, against its answers."""
    targets = config.class_targets
    answers = [sample.target if config.targets else ((sample.target,),) for sample in samples]
    scored, thresholds = [], dict[str, dict[str, float]]()
    for number, target in enumerate(targets):
        predictions, known = known_answers(target, [row[number] for row in rows], [each[number] for each in answers])
        if known:
            scored.append((target, kind_of(target).validate(target, predictions, known)))
        if known and kind_of(target).names_classes:
            chosen = choose_thresholds(target, predictions, held_classes(known, len(target.classes)))
            thresholds |= {target.name: chosen} if chosen else {}
    loss = float(np.mean([scores.loss for _, scores in scored]))
    if not config.targets:
        return Scores(loss, scored[0][1].scores, thresholds)
    classes = [(target, scores.scores) for target, scores in scored if kind_of(target).names_classes]
    named: dict[str, float] = {}
    if classes:
        accuracies = named_accuracies([target for target, _ in classes], [each["accuracy"] for _, each in classes])
        balanced = float(np.mean([each["balanced_accuracy"] for _, each in classes]))
        named = {"accuracy": accuracies["accuracy"], "balanced_accuracy": balanced, **accuracies}
    for target, scores in scored:
        if not kind_of(target).names_classes:
            named |= {f"{name}_{target.name}": value for name, value in scores.scores.items()}
    return Scores(loss, named, thresholds)


def named_accuracies(targets: Sequence[Target], accuracies: Sequence[float]) -> dict[str, float]:
    """Return the accuracy of each target by name, and their mean."""
    return {"accuracy": sum(accuracies) / len(accuracies)} | {
        f"accuracy_{target.name}": accuracy for target, accuracy in zip(targets, accuracies, strict=True)
    }


def _classified(
    checkpoint: Checkpoint[FITClassifier], runtime: Runtime, settings: EncodingSettings, sample: Sample, path: Path
) -> tuple[list[list[float]], list[EnlargedLosses]]:
    """Return the probabilities of an image by target, and its losses if it were larger; no such for added heads."""
    enlarged: list[EnlargedLosses] = []

    def enlarge(latents: Tensor) -> None:
        if isinstance(checkpoint.model.head, AttentionPool):
            enlarged.append(enlarged_losses(checkpoint.model.head, latents, sample.target, checkpoint.config.targets))

    with open_as(path, checkpoint.config.preprocessing.read_as) as image:
        result = classify_image(checkpoint, image, runtime, settings, take_latents=enlarge)
    return [each.tolist() for each in result.target_probabilities], enlarged
