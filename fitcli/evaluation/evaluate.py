"""Score a run on a data set, image by image: one bad image is reported and the others go on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from fitcli import console
from fitcli.atomic import replacing
from fitcli.checkpoints import load_classifier, load_config, load_decoder
from fitcli.classification import classify_image
from fitcli.errors import DataError, FitError, ImageError
from fitcli.evaluation.likelihood import image_bits
from fitcli.evaluation.scores import classification_scores
from fitcli.features import Settings
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.runtime import Runtime
from fitcli.training.dataset import Dataset, Sample, load_dataset

Split = Literal["val", "train", "test", "all"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was found.

    Attributes:
        task: Of the run.
        split: That was looked at.
        images, failed: How many were scored, and how many could not be read.
        scores: By name, for JSON.
        columns, rows: One line per image, for a CSV file.
    """

    task: str
    split: str
    images: int
    failed: int
    scores: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": self.task, "split": self.split, "images": self.images, "failed": self.failed, **self.scores
        }  # fmt: skip

    def as_rows(self) -> list[tuple[str, str]]:
        """The scores that are one number, for a table."""
        numbers = {name: value for name, value in self.as_dict().items() if isinstance(value, str | int | float)}
        return [
            (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else str(value))
            for name, value in numbers.items()
        ]


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
        FitError: The run cannot be loaded or is of a task that has no score, or no image could be read.
    """
    config = load_config(folder)
    if config.task == "diffusion":
        raise FitError(
            f"{folder}: a diffusion run has no score on whole images; `fit evaluate` scores classifiers and "
            "autoregressive models, and the validation loss of the run is in its metrics.jsonl"
        )
    samples = _samples(data, load_dataset(data, "needed" if config.classes else "ignored"), split, config.classes)
    written = {path.resolve() for path in checked}
    if clash := next((sample.path for sample in samples if sample.path.resolve() in written), None):
        raise FitError(f"{clash}: would be replaced by what is written; choose another place")
    if config.task == "classify":
        return _classification(folder, samples, split, runtime, settings)
    return _likelihood(folder, samples, split, runtime)


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write one line per image.

    Raises:
        FitError: It cannot be written.
    """
    try:
        with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([evaluation.columns, *evaluation.rows])
    except OSError as error:
        raise FitError(f"--csv {path}: cannot be written ({error.strerror})") from None


def _samples(data: Path, dataset: Dataset, split: Split, classes: Sequence[str]) -> list[Sample]:
    """The images of a split, their labels in the numbers of the run; all 0 where it has no classes."""
    parts = {"train": dataset.train, "val": dataset.validation, "test": dataset.test}
    chosen = [sample for name, part in parts.items() if split in (name, "all") for sample in part]
    if not chosen:
        found = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
        raise DataError(f"{data}: no images in --split {split} (it has {found}); choose another")
    if not classes:
        return [Sample(sample.path, 0) for sample in chosen]
    if unknown := next((sample for sample in chosen if sample.label < 0), None):
        raise DataError(f"{data}: {unknown.path} is of a class that only test images have; the run cannot know it")
    if strange := next((name for name in dataset.classes if name not in classes), None):
        raise DataError(f"{data}: the run does not know its class {strange!r}, it was trained on {', '.join(classes)}")
    return [Sample(sample.path, classes.index(dataset.classes[sample.label])) for sample in chosen]


def _classification(
    folder: Path, samples: Sequence[Sample], split: Split, runtime: Runtime, settings: Settings
) -> Evaluation:
    checkpoint = load_classifier(folder, runtime)
    classes = checkpoint.config.classes
    found = list(_each(samples, lambda image, _: classify_image(checkpoint, image, runtime, settings).probabilities))
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


def _likelihood(folder: Path, samples: Sequence[Sample], split: Split, runtime: Runtime) -> Evaluation:
    checkpoint = load_decoder(folder, runtime)
    classes, sequence = checkpoint.config.classes, checkpoint.config.sequence
    assert sequence is not None
    found = list(
        _each(samples, lambda image, label: image_bits(checkpoint, image, runtime, label if classes else None))
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


def _each(samples: Sequence[Sample], score: Callable[[ImageReader, int], T]) -> Iterator[tuple[Sample, T]]:
    """Score the images that can be read, and say which cannot.

    Raises:
        FitError: None of them can.
    """
    good = 0
    with console.progress("evaluate") as advance:
        for sample in samples:
            try:
                with open_image(sample.path) as image:
                    yield sample, score(image, sample.label)
                good += 1
            except ImageError as error:
                console.error(str(error))
            advance(1 / len(samples))
    if not good:
        raise FitError(f"none of {len(samples)} images could be read")
