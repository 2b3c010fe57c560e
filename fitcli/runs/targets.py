"""The targets of a run: one or several questions asked of every image, each with its classes. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

TargetKind = Literal["single-label", "multi-label"]

SEPARATOR = "|"
"""Separates the labels of an image in a cell of a multi-label column."""


PROBABILITY = "probability"
"""Stands before a class whose name is the heading of another column."""


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


def result_columns(before: Sequence[str], targets: Sequence[Target], plain: bool) -> list[str]:
    """Return the columns of a CSV file of results: those before the probabilities, then a probability per class.

    A probability is headed CLASS, or TARGET:CLASS with several targets. If that is the heading of another column,
    `probability:` stands before it: `path` or `Label` may be a class.

    Args:
        before: Headings of the columns before the probabilities.
        targets: The targets, in the order of the logits.
        plain: Whether there is only one class per image, so that its target has no name.
    """
    wanted = [label if plain else f"{target.name}:{label}" for target in targets for label in target.classes]
    # Many readers ignore the case of headings, fit among them.
    reserved, taken, columns = {heading.lower() for heading in before}, set(wanted), list(before)
    used: set[str] = set()
    for heading in wanted:
        free = heading
        while free.strip().lower() in reserved or free in used or (free != heading and free in taken):
            free = f"{PROBABILITY}:{free}"
        used.add(free)
        columns.append(free)
    return columns


def slices(targets: Sequence[Target]) -> list[slice]:
    """Return the slice of each target within the logits of all targets."""
    ends = [0]
    for target in targets:
        ends.append(ends[-1] + len(target.classes))
    return [slice(start, end) for start, end in pairwise(ends)]
