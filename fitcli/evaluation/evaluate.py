"""Score a run on a data set, image by image: one bad image is reported and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fitcli import console
from fitcli.autoregression import sequence_of
from fitcli.checkpoints import load_classifier, load_decoder, load_denoiser
from fitcli.class_tasks import slices
from fitcli.classification import classify_image
from fitcli.errors import DataError, FitError, ImageError
from fitcli.evaluation.denoising import TIMES, image_losses
from fitcli.evaluation.likelihood import image_bits
from fitcli.evaluation.result import Evaluation, Split
from fitcli.evaluation.scores import classification_scores
from fitcli.evaluation.several import evaluate_tasks
from fitcli.features import Settings
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.run_config import RunConfig, load_config
from fitcli.runtime import Runtime
from fitcli.training.dataset import Dataset, Sample, load_dataset
from fitcli.training.listing import Labels
from fitcli.training.state import load_settings

T = TypeVar("T")


def evaluate(
    data: Path, folder: Path, split: Split, runtime: Runtime, settings: Settings, checked: Sequence[Path] = ()
) -> Evaluation:
    """Score a run on the images of a data set.

    Args:
        data: The data set; without a split of its own, the same images are held out as in training.
        folder: Of the run.
        split: Which of its images.
        runtime: Device and precision.
        settings: How a classifier reads images.
        checked: Files that will be written: none of them may be an image of the data set.

    Raises:
        DataError: The data set cannot be used, has no images in this split, or classes that the run does not know.
        FitError: The run cannot be loaded, or no image could be read.
    """
    config = load_config(folder)
    labels: Labels = "needed" if config.classes else "ignored"
    dataset = load_dataset(data, labels, training=False, several=config.task == "classify")
    samples = _samples(data, dataset, split, config)
    written = {path.resolve() for path in checked}
    if clash := next((sample.path for sample in samples if sample.path.resolve() in written), None):
        raise FitError(f"{clash}: would be replaced by what is written; choose another place")
    whole = _compare_with_training(folder, dataset, split)
    match config.task:
        case "classify":
            return _classification(folder, samples, split, runtime, settings)
        case "diffusion":
            return _denoising(folder, samples, split, runtime, whole)
    return _likelihood(folder, samples, split, runtime, whole)


def _compare_with_training(folder: Path, dataset: Dataset, split: Split) -> bool:
    """Whether the run was trained on whole images; and a warning where it may have been trained on what is scored."""
    try:
        settings, fingerprint = load_settings(folder)
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


def _classification(
    folder: Path, samples: Sequence[Sample], split: Split, runtime: Runtime, settings: Settings
) -> Evaluation:
    checkpoint = load_classifier(folder, runtime)
    classes = checkpoint.config.classes
    found_all = list(
        _each(samples, lambda image, label, number: classify_image(checkpoint, image, runtime, settings).chances)
    )
    if checkpoint.config.tasks:
        return evaluate_tasks(checkpoint.config.tasks, split, found_all, len(samples))
    found = [(sample, chances[0]) for sample, chances in found_all]
    probabilities = np.stack([chances for _, chances in found])
    scores = classification_scores(probabilities, np.array([sample.label for sample, _ in found]))
    rows = [
        (sample.path, classes[sample.label], classes[int(chances.argmax())], *(f"{p:.6f}" for p in chances))
        for sample, chances in found
    ]
    return Evaluation(
        task="classify",
        split=split,
        images=len(found),
        failed=len(samples) - len(found),
        scores={**scores, "classes": list(classes)},
        columns=("path", "label", "predicted", *classes),
        rows=list(rows),
    )


def _likelihood(folder: Path, samples: Sequence[Sample], split: Split, runtime: Runtime, whole: bool) -> Evaluation:
    checkpoint = load_decoder(folder, runtime)
    classes, sequence = checkpoint.config.classes, sequence_of(checkpoint.config)
    found = list(
        _each(
            samples,
            lambda image, label, number: image_bits(checkpoint, image, runtime, label if classes else None, whole),
        )
    )
    dimensions = sum(bits.dimensions for _, bits in found)
    return Evaluation(
        task="autoregressive",
        split=split,
        images=len(found),
        failed=len(samples) - len(found),
        scores={
            "bits_per_dimension": sum(bits.total for _, bits in found) / dimensions,
            "dimensions": dimensions,
            "levels": sequence.levels,
        },
        columns=("path", "bits_per_dimension", "dimensions"),
        rows=[(sample.path, f"{bits.per_dimension:.6f}", bits.dimensions) for sample, bits in found],
    )


def _denoising(folder: Path, samples: Sequence[Sample], split: Split, runtime: Runtime, whole: bool) -> Evaluation:
    checkpoint = load_denoiser(folder, runtime)
    classes = checkpoint.config.classes

    def losses(image: ImageReader, label: int, number: int) -> NDArray[np.float64]:
        return image_losses(checkpoint, image, runtime, number, label if classes else None, whole)

    found = list(_each(samples, losses))
    means = np.mean([each for _, each in found], axis=0)
    levels = [{"time": time, "loss": float(loss)} for time, loss in zip(TIMES, means, strict=True)]
    return Evaluation(
        task="diffusion",
        split=split,
        images=len(found),
        failed=len(samples) - len(found),
        scores={
            "loss": float(means.mean()),
            "levels": levels,
        },
        columns=("path", "loss", *(f"loss_at_{time:.2f}" for time in TIMES)),
        rows=[(sample.path, *(f"{value:.6f}" for value in (each.mean(), *each))) for sample, each in found],
    )


def _each(samples: Sequence[Sample], score: Callable[[ImageReader, int, int], T]) -> Iterator[tuple[Sample, T]]:
    """Score the images that can be read, by their label and number, and say which cannot.

    Raises:
        FitError: None of them can.
    """
    good = 0
    with console.progress("evaluate") as advance:
        for number, sample in enumerate(samples):
            try:
                with open_image(sample.path) as image:
                    yield sample, score(image, sample.label, number)
                good += 1
            except ImageError as error:
                console.error(str(error))
            advance(1 / len(samples))
    if not good:
        raise FitError(f"none of {len(samples)} images could be read")
