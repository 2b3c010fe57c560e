"""Reads one class per image as its target, joins classes into batches, and matches them to the classes of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
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
        return [replace(sample, target=0) for sample in chosen]
    labels = [composed(dataset.classes[sample.target]) for sample in chosen]
    classes = [composed(name) for name in config.classes]
    check_known(data, labels, classes)
    return [replace(sample, target=classes.index(label)) for sample, label in zip(chosen, labels, strict=True)]


def check_known(data: Path, labels: Iterable[str], classes: Sequence[str]) -> None:
    """Raise DataError if a label of a data set is no class of a run."""
    if strange := next((name for name in labels if name not in classes), None):
        raise DataError(f"{data}: the run has no class {strange!r}; it was trained on {', '.join(classes)}")


def check_unit_labels(data: Path, samples: Iterable[Sample], config: RunConfig) -> None:
    """Refuse images of a patient that are of different classes of a target with one class.

    Args:
        data: The data set, for messages.
        samples: Images with targets in the numbers of the run.
        config: The run.

    Raises:
        DataError: There are such images.
    """
    seen: dict[tuple[str, int], tuple[float, ...]] = {}
    singles = [(number, target) for number, target in enumerate(config.class_targets) if target.is_single]
    for sample in samples:
        for number, target in singles if sample.patient else ():
            own = sample.target[number] if config.targets else (sample.target,)
            before = seen.setdefault((sample.patient, number), own)
            if before != own:
                one, other = target.classes[int(before[0])], target.classes[int(own[0])]
                raise DataError(
                    f"{data}: patient {sample.patient} has images of class {one!r} and of class {other!r}, and a score "
                    "by patient needs one; give the images of a patient one label, or leave --per out"
                )
