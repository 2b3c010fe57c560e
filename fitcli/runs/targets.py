"""What is asked of images: one or several tasks, each with classes of its own. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

TargetKind = Literal["single-label", "multi-label"]

SEPARATOR = "|"
"""Between the labels of an image, where it may have several."""


@dataclass(frozen=True, slots=True)
class Target:
    """A question to images.

    Attributes:
        name: As in the column of a CSV file.
        kind: "single-label": every image is of exactly one class. "multi-label": any number of classes holds.
        classes: Names, in the order of the logits.

    Raises:
        ValueError: There is no such kind, or a class twice.
    """

    name: str
    kind: TargetKind
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.kind not in get_args(TargetKind):
            raise ValueError(f"task {self.name!r}: {self.kind!r} is none of {', '.join(get_args(TargetKind))}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"task {self.name!r} needs different classes, not {list(self.classes)}")

    @property
    def is_single(self) -> bool:
        """Whether every image is of exactly one class."""
        return self.kind == "single-label"

    @property
    def column(self) -> str:
        """Of a CSV file."""
        return f"{'label' if self.is_single else 'labels'}:{self.name}"

    def numbers(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Of the classes that hold, ascending; those that are unknown are left out."""
        return tuple(sorted({self.classes.index(label) for label in labels if label in self.classes}))


def probability_columns(tasks: Sequence[Target]) -> list[str]:
    """Of a CSV file with the probability of every class of several tasks, in the order of the logits."""
    return [f"{task.name}:{label}" for task in tasks for label in task.classes]


def slices(tasks: Sequence[Target]) -> list[slice]:
    """Where the logits of each task lie among those of all."""
    ends = [0]
    for task in tasks:
        ends.append(ends[-1] + len(task.classes))
    return [slice(start, end) for start, end in pairwise(ends)]
