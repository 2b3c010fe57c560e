"""The targets of a run: one or several questions asked of every image, each with its classes. Standard library only.

What a kind of target means stands with the task that has it; this module only knows where its outputs lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

SINGLE_LABEL, MULTI_LABEL = "single-label", "multi-label"
"""Kinds of targets whose answers are classes: exactly one, and any number of them."""

HEADINGS = {SINGLE_LABEL: "label", MULTI_LABEL: "labels"}
"""First part of the heading of a column by kind of target; for other kinds, it is the kind itself."""

SEPARATOR = "|"
"""Separates the labels of an image in a cell of a multi-label column."""


PROBABILITY = "probability"
"""Stands before a class whose name is the heading of another column."""


@dataclass(frozen=True, slots=True)
class Target:
    """A question asked of every image, such as its grade.

    Attributes:
        name: Name from the heading of the CSV column.
        kind: "single-label": every image is of exactly one class. "multi-label": any number of classes holds. Other
            kinds are those of a task.
        classes: Names of the classes, in the order of the logits; empty for a kind without classes.
        outputs: Number of outputs of the model; 0 stands for one per class, and becomes their number.
        scale: Numbers that turn outputs into answers in their unit, learned from the training images; empty for a kind
            without a unit.

    Raises:
        ValueError: The classes are missing or not distinct.
    """

    name: str
    kind: str
    classes: tuple[str, ...]
    outputs: int = 0
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (self.classes or self.outputs) or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"target {self.name!r} needs different classes, not {list(self.classes)}")
        object.__setattr__(self, "outputs", self.outputs or len(self.classes))

    @property
    def is_single(self) -> bool:
        """Whether every image is of exactly one class."""
        return self.kind == SINGLE_LABEL

    @property
    def column(self) -> str:
        """Heading of its column in a CSV file, such as `label:grade`."""
        return f"{HEADINGS.get(self.kind, self.kind)}:{self.name}"

    def numbers(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Return the numbers of classes given by name, ascending; unknown names are left out."""
        return tuple(sorted({self.classes.index(label) for label in labels if label in self.classes}))


def result_columns(
    before: Sequence[str], targets: Sequence[Target], plain: bool, names: Sequence[Sequence[str]] | None = None
) -> list[str]:
    """Return the columns of a CSV file of results: those before the probabilities, then a probability per class.

    A probability is headed CLASS, or TARGET:CLASS with several targets. If that is the heading of another column,
    `probability:` stands before it: `path` or `Label` may be a class.

    Args:
        before: Headings of the columns before the probabilities.
        targets: The targets, in the order of the logits.
        plain: Whether there is only one class per image, so that its target has no name.
        names: Names of the probabilities of each target; None for its classes.
    """
    each = [target.classes for target in targets] if names is None else names
    named = [(target.name, label) for target, labels in zip(targets, each, strict=True) for label in labels]
    wanted = [label if plain else f"{name}:{label}" for name, label in named]
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
    """Return the slice of each target within the outputs of all targets."""
    return parts([target.outputs for target in targets])


def parts(lengths: Sequence[int]) -> list[slice]:
    """Return the slice of each part of a row that consists of parts of these lengths."""
    ends = list(accumulate(lengths, initial=0))
    return [slice(start, end) for start, end in pairwise(ends)]
