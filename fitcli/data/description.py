"""Describes a data set to a person who starts a training: its classes, and what was passed over."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from fitcli.data.class_names import confusable_names
from fitcli.data.column_kinds import NAMED, class_line
from fitcli.data.dataset import Dataset

FEW = 50
"""Number of validation images below which the choice of the weights to keep is said to depend on chance."""


def describe_dataset(dataset: Dataset) -> tuple[str, ...]:
    """Return lines on the classes of a data set with their numbers of images, on what was passed over, and a hint."""
    return *_class_lines(dataset), *_patient_line(dataset), *dataset.notes, *_hint(dataset)


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


def _class_lines(dataset: Dataset) -> Sequence[str]:
    if dataset.targets:
        return dataset.answers
    train, validation = ([sample.target for sample in samples] for samples in (dataset.train, dataset.validation))
    return [class_line("classes", dataset.classes, train, validation)] if dataset.classes else []


def _patient_line(dataset: Dataset) -> list[str]:
    train, validation = (
        len({sample.patient for sample in samples if sample.patient}) for samples in (dataset.train, dataset.validation)
    )
    return [f"patients (training + validation): {train} + {validation}"] if dataset.patients else []
