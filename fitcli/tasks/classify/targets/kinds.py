"""The kinds of targets of a classifier. A new kind is a file in this folder and an entry here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitcli.data.column_kinds import Answer
from fitcli.runs.targets import Target, parts
from fitcli.tasks.classify.targets.kind import Numbers, TargetKind
from fitcli.tasks.classify.targets.multi_label import MultiLabel
from fitcli.tasks.classify.targets.order import Order
from fitcli.tasks.classify.targets.single_label import SingleLabel
from fitcli.tasks.classify.targets.survival import Survival
from fitcli.tasks.classify.targets.value import Value

TARGET_KINDS: tuple[TargetKind, ...] = (SingleLabel(), MultiLabel(), Value(), Order(), Survival())

BY_NAME = {kind.name: kind for kind in TARGET_KINDS}


def kind_of(target: Target) -> TargetKind:
    """Return the kind of a target.

    Raises:
        ValueError: There is no such kind.
    """
    kind = BY_NAME.get(target.kind)
    if kind is None:
        raise ValueError(f"target {target.name!r}: {target.kind!r} is none of {', '.join(BY_NAME)}")
    return kind


def row_slices(targets: Sequence[Target]) -> list[slice]:
    """Return the slice of each target within a row of the answers to all targets."""
    return parts([kind_of(target).width(target) for target in targets])


def prediction_slices(targets: Sequence[Target]) -> list[slice]:
    """Return the slice of each target within the predictions of all targets, side by side."""
    return parts([kind_of(target).size(target) for target in targets])


def known_answers(
    target: Target, predictions: Sequence[Sequence[float] | Numbers], answers: Sequence[Answer]
) -> tuple[Numbers, list[Answer]]:
    """Return the predictions [i n] and the answers of the images whose answer to a target is known."""
    every = kind_of(target).may_be_empty
    known = [(row, answer) for row, answer in zip(predictions, answers, strict=True) if answer or every]
    return np.array([row for row, _ in known], np.float64), [answer for _, answer in known]
