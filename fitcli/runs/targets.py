"""The targets of a run: one or several questions asked of every image, each with its classes. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

TargetKind = Literal["single-label", "multi-label"]

SEPARATOR = "|"
"""Separates the labels of an image in a cell of a multi-label column."""


@dataclass(frozen=True, slots=True)
class Target:
    """A question asked of every image, such as its grade.

    Attributes:
        name: Name from the heading of the CSV column.
        kind: "single-label": every image is of exactly one class. "multi-label": any number of classes holds.
        classes: Names of the classes, in the order of the logits.

    Raises:
        ValueError: The kind is unknown, or the classes are missing or not distinct.
    """

    name: str
    kind: TargetKind
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(TargetKind):
            raise ValueError(f"target {self.name!r}: {self.kind!r} is none of {', '.join(get_args(TargetKind))}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"target {self.name!r} needs different classes, not {list(self.classes)}")

    @property
    def is_single(self) -> bool:
        """Whether every image is of exactly one class."""
        return self.kind == "single-label"

    @property
    def column(self) -> str:
        """Heading of its column in a CSV file, such as `label:grade`."""
        return f"{'label' if self.is_single else 'labels'}:{self.name}"

    def numbers(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Return the numbers of classes given by name, ascending; unknown names are left out."""
        return tuple(sorted({self.classes.index(label) for label in labels if label in self.classes}))


def probability_columns(targets: Sequence[Target]) -> list[str]:
    """Return the headings of the CSV columns with a probability per class, in the order of the logits."""
    return [f"{target.name}:{label}" for target in targets for label in target.classes]


def slices(targets: Sequence[Target]) -> list[slice]:
    """Return the slice of each target within the logits of all targets."""
    ends = [0]
    for target in targets:
        ends.append(ends[-1] + len(target.classes))
    return [slice(start, end) for start, end in pairwise(ends)]
