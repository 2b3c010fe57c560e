"""Reads classes as targets of images, joins them into batches, and matches them to the classes of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from fitcli.data.class_names import composed
from fitcli.data.dataset import Dataset, Sample
from fitcli.data.place import Place
from fitcli.data.read_item import TargetReader
from fitcli.errors import DataError
from fitcli.images.base import ImageReader
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target, slices


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


@dataclass(frozen=True, slots=True)
class ClassSets:
    """Any number of classes per image.

    Attributes:
        numbers: Numbers of the classes that apply, counted over all targets, [b l] int64; padded with -1.
    """

    numbers: Tensor

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> ClassSets:
        """Return the same with `move` applied to the tensor."""
        return ClassSets(move(self.numbers))


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


@dataclass(frozen=True, slots=True)
class ClassSetReader:
    """Reads numbers of classes, counted over several targets.

    Attributes:
        targets: The targets, in the order of their classes.
    """

    targets: tuple[Target, ...]

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> tuple[int, ...]:
        """Return the numbers of the classes that apply."""
        return tuple(sample.target)

    def join(self, targets: Sequence[tuple[int, ...]]) -> ClassSets:
        """Join the numbers of a batch."""
        return ClassSets(padded(targets))

    def stratum(self, sample: Sample) -> int:
        """Return the number of the class in the first single-label target.

        It is -1 if the sample has no class there; 0 if no target is single-label.
        """
        for target, part in zip(self.targets, slices(self.targets), strict=True):
            if target.is_single:
                return next((number - part.start for number in sample.target if part.start <= number < part.stop), -1)
        return 0


def class_reader(targets: tuple[Target, ...]) -> TargetReader:
    """Return the reader of the targets of a run; no targets mean one class per image."""
    return ClassSetReader(targets) if targets else ClassLabelReader()


def padded(targets: Sequence[Sequence[int]]) -> Tensor:
    """Join the class numbers of each image into [b l] int64; shorter lists are padded with -1."""
    longest = max(map(len, targets))
    rows = [[*numbers, *[-1] * (longest - len(numbers))] for numbers in targets]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(targets), longest)


def match_classes(data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
    """Return samples with targets in the class numbers of a run; all targets are 0 for a run without classes.

    Columns that the run was not trained on are ignored.

    Args:
        data: The data set, for messages.
        dataset: The loaded data set.
        chosen: Samples of the data set.
        config: The run.

    Raises:
        DataError: A column of the run is missing, or the run does not have a class of the samples.
    """
    if config.targets or dataset.targets:
        return _match_targets(data, dataset, chosen, config)
    if not config.classes:
        return [replace(sample, target=0) for sample in chosen]
    labels = [composed(dataset.classes[sample.target]) for sample in chosen]
    classes = [composed(name) for name in config.classes]
    _check_known(data, labels, classes)
    return [replace(sample, target=classes.index(label)) for sample, label in zip(chosen, labels, strict=True)]


def _match_targets(data: Path, dataset: Dataset, chosen: Sequence[Sample], config: RunConfig) -> list[Sample]:
    own = {composed(target.name): number for number, target in enumerate(dataset.targets)}
    if missing := [target.column for target in config.targets if composed(target.name) not in own]:
        raise DataError(f"{data}: has no column {missing[0]}, which the run was trained on")
    if not config.targets:
        columns = ", ".join(target.column for target in dataset.targets)
        raise DataError(f"{data}: has the columns {columns}, the run was trained on one class per image: column label")
    parts, offsets = slices(dataset.targets), [part.start for part in slices(config.targets)]
    samples = []
    for sample in chosen:
        numbers: list[int] = []
        for target, offset in zip(config.targets, offsets, strict=True):
            column = own[composed(target.name)]
            part, classes = parts[column], dataset.targets[column].classes
            labels = [
                composed(classes[number - part.start]) for number in sample.target if part.start <= number < part.stop
            ]
            known = [composed(name) for name in target.classes]
            _check_known(data, labels, known)
            numbers += [offset + number for number in sorted({known.index(label) for label in labels})]
        samples.append(replace(sample, target=tuple(numbers)))
    return samples


def check_unit_labels(data: Path, samples: Iterable[Sample], config: RunConfig) -> None:
    """Refuse images of a patient that are of different classes of a target with one class.

    Args:
        data: The data set, for messages.
        samples: Images with targets in the numbers of the run.
        config: The run.

    Raises:
        DataError: There are such images.
    """
    seen: dict[tuple[str, int], tuple[int, ...]] = {}
    targets = config.class_targets
    singles = [(n, targets[n], part) for n, part in enumerate(slices(targets)) if targets[n].is_single]
    for sample in samples:
        numbers = sample.target if isinstance(sample.target, tuple) else (sample.target,)
        for number, target, part in singles if sample.patient else ():
            own = tuple(each - part.start for each in numbers if part.start <= each < part.stop)
            before = seen.setdefault((sample.patient, number), own)
            if before != own:
                one, other = target.classes[before[0]], target.classes[own[0]]
                raise DataError(
                    f"{data}: patient {sample.patient} has images of class {one!r} and of class {other!r}, and a score "
                    "by patient needs one; give the images of a patient one label, or leave --per out"
                )


def _check_known(data: Path, labels: Iterable[str], classes: Sequence[str]) -> None:
    if strange := next((name for name in labels if name not in classes), None):
        raise DataError(f"{data}: the run has no class {strange!r}; it was trained on {', '.join(classes)}")
