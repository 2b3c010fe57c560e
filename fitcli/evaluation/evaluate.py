"""Score a run on a data set, image by image: one bad image is reported and the others go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitcli import console
from fitcli.data.csv_listing import Labels
from fitcli.data.dataset import Dataset, Sample, load_dataset
from fitcli.device.runtime import Runtime
from fitcli.distributed.image_queue import ImageQueue
from fitcli.errors import DataError, FitError, ImageError
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.runs.config import RunConfig, load_config
from fitcli.runs.targets import slices
from fitcli.runs.weights import Checkpoint, load_classifier, load_decoder, load_denoiser
from fitcli.tasks.autoregressive.next_token import sequence_of
from fitcli.tasks.autoregressive.scores import Bits, image_bits
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.multi_target_scores import evaluate_tasks
from fitcli.tasks.classify.scores import classification_scores
from fitcli.tasks.diffusion.scores import TIMES, image_losses
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.encoding.result_journal import open_result_journal
from fitcli.tasks.evaluation_result import Evaluation, Split
from fitcli.training.checkpointing.run_record import load_fingerprint, load_settings


def evaluate(
    queue: ImageQueue,
    data: Path,
    folder: Path,
    split: Split,
    runtime: Runtime,
    settings: EncodingSettings,
    output: Path | None = None,
) -> Evaluation | None:
    """Score a run on the images of a data set.

    Args:
        queue: The processes that share the images.
        data: The data set; without a split of its own, the same images are held out as in training.
        folder: Of the run.
        split: Which of its images.
        runtime: Device and precision.
        settings: How a classifier reads images.
        output: File that will be written, which may be none of the images of the data set.

    Returns:
        What was found, on the first process; None on the others.

    Raises:
        DataError: The data set cannot be used, has no images in this split, or classes that the run does not know.
        FitError: The run cannot be loaded, or no image could be read.
    """
    config = load_config(folder)
    labels: Labels = "needed" if config.classes else "ignored"
    dataset = load_dataset(data, labels, training=False, several=config.task == "classify")
    samples = _samples(data, dataset, split, config)
    written = None if output is None else os.path.realpath(output)
    if clash := next((sample.path for sample in samples if os.path.realpath(sample.path) == written), None):
        raise FitError(f"{clash}: would be replaced by what is written; choose another place")
    whole = _compare_with_training(folder, dataset, split)
    job = _Job(queue, samples, split, runtime, settings, output)
    match config.task:
        case "classify":
            return _classification(folder, job)
        case "diffusion":
            return _denoising(folder, job, whole)
    return _likelihood(folder, job, whole)


@dataclass(frozen=True, slots=True)
class _Job:
    """The images to score, and how; see `evaluate`."""

    queue: ImageQueue
    samples: Sequence[Sample]
    split: Split
    runtime: Runtime
    settings: EncodingSettings
    output: Path | None

    def each(
        self, checkpoint: Checkpoint[Any], score: Callable[[ImageReader, int, int], list[float]], *details: object
    ) -> list[tuple[Sample, list[float]]] | None:
        """Score the images that can be read, by their label and number, and say which cannot.

        Returns:
            What was found, on the first process; None on the others.

        Raises:
            FitError: None of them can be read.
        """
        samples = self.samples

        def one(number: int) -> list[float] | None:
            sample = samples[number]
            try:
                with open_image(sample.path) as image:
                    return score(image, sample.label, number)
            except ImageError as error:
                console.error(str(error))
                return None

        paths, count = [sample.path for sample in samples], len(samples)
        journal = open_result_journal(
            self.queue, "evaluate", checkpoint, self.runtime, self.settings, paths, [None] * count, output=self.output,
            details={"more": details}, per_image=[(number, sample.label) for number, sample in enumerate(samples)],
        )  # fmt: skip
        with console.progress("evaluate") as advance:
            found = []
            for scores in self.queue.results(count, one, journal):
                found.append(scores)
                advance(1 / count)
        if not self.queue.world.is_first:
            return None
        if not any(found):
            raise FitError(f"none of {count} images could be read")
        return [(sample, scores) for sample, scores in zip(samples, found, strict=True) if scores is not None]


def _compare_with_training(folder: Path, dataset: Dataset, split: Split) -> bool:
    """Whether the run was trained on whole images; and a warning where it may have been trained on what is scored."""
    try:
        settings, fingerprint = load_settings(folder), load_fingerprint(folder)
    except FitError:
        return False
    if split == "val" and fingerprint != dataset.fingerprint:
        console.warning(
            f"{folder}: was trained on another data set or another split of it; what it held out is not what is scored"
        )
    return settings.size is None


def _samples(data: Path, dataset: Dataset, split: Split, config: RunConfig) -> list[Sample]:
    """The images of a split, their labels in the numbers of the run; all 0 where it has no classes."""
    parts = {"train": dataset.train, "val": dataset.validation, "test": dataset.test}
    chosen = [sample for name, part in parts.items() if split in (name, "all") for sample in part]
    if not chosen:
        found = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
        raise DataError(f"{data}: no images in --split {split} (it has {found}); choose another")
    if config.tasks or dataset.tasks:
        return _samples_of_tasks(data, dataset, chosen, config)
    classes = config.classes
    if not classes:
        return [Sample(sample.path, 0) for sample in chosen]
    asked = (dataset.classes[sample.label] for sample in chosen)
    _check_known(data, asked, classes)
    return [Sample(sample.path, classes.index(dataset.classes[sample.label])) for sample in chosen]


def _samples_of_tasks(data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
    """The same where several things are asked; columns that the run knows nothing of do not count."""
    there = {task.name: number for number, task in enumerate(dataset.tasks)}
    if missing := [task.column for task in config.tasks if task.name not in there]:
        raise DataError(f"{data}: has no column {missing[0]}, which the run was trained on")
    if not config.tasks:
        columns = ", ".join(task.column for task in dataset.tasks)
        raise DataError(f"{data}: has the columns {columns}, the run was trained on one class per image: column label")
    own, offsets = slices(dataset.tasks), [part.start for part in slices(config.tasks)]
    samples = []
    for sample in chosen:
        targets: list[int] = []
        for task, offset in zip(config.tasks, offsets, strict=True):
            part, classes = own[there[task.name]], dataset.tasks[there[task.name]].classes
            labels = [classes[target - part.start] for target in sample.targets if part.start <= target < part.stop]
            _check_known(data, labels, task.classes)
            targets += [offset + number for number in task.numbers(labels)]
        samples.append(Sample(sample.path, 0, tuple(targets)))
    return samples


def _check_known(data: Path, labels: Iterable[str], classes: Sequence[str]) -> None:
    if strange := next((name for name in labels if name not in classes), None):
        raise DataError(f"{data}: the run does not know its class {strange!r}, it was trained on {', '.join(classes)}")


def _classification(folder: Path, job: _Job) -> Evaluation | None:
    checkpoint = load_classifier(folder, job.runtime)
    tasks, classes = checkpoint.config.tasks, checkpoint.config.classes

    def chances(image: ImageReader, label: int, number: int) -> list[float]:
        found = classify_image(checkpoint, image, job.runtime, job.settings)
        return [float(chance) for each in found.chances for chance in each]

    found = job.each(checkpoint, chances)
    if found is None:
        return None
    if tasks:
        parts = slices(tasks)
        split = [(sample, tuple(np.array(chances[part]) for part in parts)) for sample, chances in found]
        return evaluate_tasks(tasks, job.split, split, len(job.samples))
    probabilities = np.array([chances for _, chances in found])
    scores = classification_scores(probabilities, np.array([sample.label for sample, _ in found]))
    rows = [
        (sample.path, classes[sample.label], classes[int(np.argmax(chances))], *(f"{p:.6f}" for p in chances))
        for sample, chances in found
    ]
    return Evaluation(
        task="classify",
        split=job.split,
        images=len(found),
        failed=len(job.samples) - len(found),
        scores={**scores, "classes": list(classes)},
        columns=("path", "label", "predicted", *classes),
        rows=list(rows),
    )


def _likelihood(folder: Path, job: _Job, whole: bool) -> Evaluation | None:
    checkpoint = load_decoder(folder, job.runtime)
    classes, sequence = checkpoint.config.classes, sequence_of(checkpoint.config)

    def bits(image: ImageReader, label: int, number: int) -> list[float]:
        return [*image_bits(checkpoint, image, job.runtime, label if classes else None, whole)]

    scored = job.each(checkpoint, bits, whole)
    if scored is None:
        return None
    found = [(sample, Bits(total, int(dimensions))) for sample, (total, dimensions) in scored]
    dimensions = sum(bits.dimensions for _, bits in found)
    return Evaluation(
        task="autoregressive",
        split=job.split,
        images=len(found),
        failed=len(job.samples) - len(found),
        scores={
            "bits_per_dimension": sum(bits.total for _, bits in found) / dimensions,
            "dimensions": dimensions,
            "levels": sequence.levels,
        },
        columns=("path", "bits_per_dimension", "dimensions"),
        rows=[(sample.path, f"{bits.per_dimension:.6f}", bits.dimensions) for sample, bits in found],
    )


def _denoising(folder: Path, job: _Job, whole: bool) -> Evaluation | None:
    checkpoint = load_denoiser(folder, job.runtime)
    classes = checkpoint.config.classes

    def losses(image: ImageReader, label: int, number: int) -> list[float]:
        found: list[float] = image_losses(
            checkpoint, image, job.runtime, number, label if classes else None, whole
        ).tolist()
        return found

    found = job.each(checkpoint, losses, whole)
    if found is None:
        return None
    means = np.mean([each for _, each in found], axis=0)
    levels = [{"time": time, "loss": float(loss)} for time, loss in zip(TIMES, means, strict=True)]
    return Evaluation(
        task="diffusion",
        split=job.split,
        images=len(found),
        failed=len(job.samples) - len(found),
        scores={
            "loss": float(means.mean()),
            "levels": levels,
        },
        columns=("path", "loss", *(f"loss_at_{time:.2f}" for time in TIMES)),
        rows=[(sample.path, *(f"{value:.6f}" for value in (np.mean(each), *each))) for sample, each in found],
    )
