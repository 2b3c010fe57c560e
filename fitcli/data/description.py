"""Describes a data set to a person who starts a training: its classes, and what was passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from fitcli.data.class_names import confusable_names
from fitcli.data.dataset import Dataset, Sample
from fitcli.runs.targets import slices

NAMED = 10
"""Number of classes to name."""

LONGEST = 40
"""Letters of the name of a class to show."""

FEW = 50
"""Number of validation images below which the choice of the weights to keep is said to depend on chance."""


def describe_dataset(dataset: Dataset) -> tuple[str, ...]:
    """Return lines on the classes of a data set with their numbers of images, on what was passed over, and a hint."""
    return *_class_lines(dataset), *dataset.notes, *_hint(dataset)


def _hint(dataset: Dataset) -> list[str]:
    """Return a line if few images choose the weights to keep."""
    count = len(dataset.validation)
    if not 0 < count < FEW:
        return []
    noun = "image chooses" if count == 1 else "images choose"
    return [f"{count} validation {noun} the weights to keep; with fewer than {FEW}, their scores depend on chance"]


def warn_of_names(dataset: Dataset) -> str:
    """Return a warning of classes whose names are hard to tell apart; "" if there are none."""
    targets = [target.classes for target in dataset.targets] or [dataset.classes]
    alike = list(chain.from_iterable(map(confusable_names, targets)))
    if not alike:
        return ""
    sets = "; ".join(" and ".join(map(repr, names)) for names in alike[:NAMED])
    more = f"; and {len(alike) - NAMED} more" if len(alike) > NAMED else ""
    return (
        f"classes whose names differ only by case, spaces or Unicode form: {sets}{more}; they stay different classes; "
        "give them one name if they are one class"
    )


def _class_lines(dataset: Dataset) -> list[str]:
    train, validation = _counts(dataset.train), _counts(dataset.validation)
    if not dataset.targets:
        line = _line("classes", dataset.classes, range(len(dataset.classes)), train, validation)
        return [line] if dataset.classes else []
    return [
        _line(target.column, target.classes, range(part.start, part.stop), train, validation)
        for target, part in zip(dataset.targets, slices(dataset.targets), strict=True)
    ]


def _counts(samples: Sequence[Sample]) -> Counter[int]:
    """Return the number of images by number of class."""
    return Counter(
        chain.from_iterable(
            sample.target if isinstance(sample.target, tuple) else (sample.target,) for sample in samples
        )
    )


def _line(
    heading: str, classes: Sequence[str], numbers: Sequence[int], train: Counter[int], validation: Counter[int]
) -> str:
    named = [
        f"{name:.{LONGEST}} ({train[number]} + {validation[number]})"
        for name, number in zip(classes[:NAMED], numbers, strict=False)
    ]
    more = f", and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    return f"{heading} (training + validation images): {', '.join(named)}{more}"
