"""Reads the answers of images to several targets, and joins them into batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fitcli.data.column_kinds import Answer
from fitcli.data.dataset import Sample
from fitcli.data.place import Place
from fitcli.data.read_item import TargetReader
from fitcli.images.base import ImageReader
from fitcli.runs.targets import Target
from fitcli.tasks.class_targets import ClassLabelReader
from fitcli.tasks.classify.targets.kinds import kind_of


@dataclass(frozen=True, slots=True)
class AnswerRows:
    """The answers of the images of a batch.

    Attributes:
        rows: `TargetKind.row` of each target, side by side [b w] float32; NaN where an answer is not known.
    """

    rows: Tensor

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> AnswerRows:
        """Return the same with `move` applied to the tensor."""
        return AnswerRows(move(self.rows))


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads the answers to several targets.

    Attributes:
        targets: The targets, in the order of the answers.
    """

    targets: tuple[Target, ...]

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> tuple[Answer, ...]:
        """Return the answer to each target."""
        return tuple(sample.target)

    def join(self, targets: Sequence[tuple[Answer, ...]]) -> AnswerRows:
        """Join the answers of the images of a batch."""
        return AnswerRows(answer_rows(self.targets, targets))

    def stratum(self, sample: Sample) -> int:
        """Return the number of the class in the first target whose classes are spread.

        It is -1 if the class is not known; 0 if there is no such target.
        """
        spread = (answer for target, answer in zip(self.targets, sample.target, strict=True) if kind_of(target).spreads)
        first = next(spread, (0,))
        return int(first[0]) if first else -1


def target_reader(targets: tuple[Target, ...]) -> TargetReader:
    """Return the reader of the targets of a run; no targets mean one class per image."""
    return AnswerReader(targets) if targets else ClassLabelReader()


def answer_rows(targets: Sequence[Target], answers: Sequence[tuple[Answer, ...]]) -> Tensor:
    """Return the rows of the answers of some images, see `AnswerRows`."""
    rows = []
    for image in answers:
        row: list[float] = []
        for target, answer in zip(targets, image, strict=True):
            kind = kind_of(target)
            is_known = answer or kind.may_be_empty
            row += kind.row(target, answer) if is_known else [math.nan] * kind.width(target)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float32)
