"""Reads one class per image as its target, joins classes into batches, and matches them to the classes of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fitcli.data.class_names import composed
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.place import Place
from fitcli.errors import DataError
from fitcli.images.base import ImageReader
from fitcli.runs.config import RunConfig


@dataclass(frozen=True, slots=True)
class ClassLabels:
    """One class per image.

    Attributes:
        numbers: Number of the class of each image, [b] int64.
    """

    numbers: Tensor

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> ClassLabels:
        """Return the same with `move` applied to the tensor."""
        return ClassLabels(move(self.numbers))


class ClassLabelReader:
    """Reads targets that are the number of one class."""

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> int:
        """Return the number of the class."""
        return int(sample.target)

    def join(self, targets: Sequence[int]) -> ClassLabels:
        """Join the numbers of a batch."""
        return ClassLabels(torch.tensor(targets))

    def stratum(self, sample: Sample) -> int:
        """Return the number of the class."""
        return int(sample.target)


def match_classes(data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
    """Return samples with targets in the class numbers of a run; all targets are 0 for a run without classes.

    Args:
        data: The data set, for messages.
        dataset: The loaded data set.
        chosen: Samples of the data set.
        config: The run.

    Raises:
        DataError: The run does not have a class of the samples.
    """
    if not config.classes:
        return [Sample(sample.path, 0) for sample in chosen]
    labels = [composed(dataset.classes[sample.target]) for sample in chosen]
    classes = [composed(name) for name in config.classes]
    check_known(data, labels, classes)
    return [Sample(sample.path, classes.index(label)) for sample, label in zip(chosen, labels, strict=True)]


def check_known(data: Path, labels: Iterable[str], classes: Sequence[str]) -> None:
    """Raise DataError if a label of a data set is no class of a run."""
    if strange := next((name for name in labels if name not in classes), None):
        raise DataError(f"{data}: the run has no class {strange!r}; it was trained on {', '.join(classes)}")
