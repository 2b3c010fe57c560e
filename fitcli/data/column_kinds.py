"""How the cells of a column of a CSV file become answers: what data sets need to know of each kind of target.

The two kinds of labels stand here, because every task reads the column `label`. Other kinds belong to the task that
asks for them, which hands them to `load_dataset`. Nothing here imports torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar

from fitcli.errors import DataError
from fitcli.runs.targets import MULTI_LABEL, SEPARATOR, SINGLE_LABEL, Target

NAMED = 10
"""Number of classes to name."""

LONGEST = 40
"""Letters of the name of a class to show."""

Answer = tuple[float, ...]
"""The answer of an image to a target, as numbers that the kind of the target understands; () if it is not known."""


class ColumnKind(ABC):
    """Reads the cells of one kind of target. Kinds have no state: what was learned of the data stands in a `Target`.

    Attributes:
        name: Name of the kind, as in `config.json`.
        words: First parts of the headings of its columns, such as ("label",) for `label:NAME`. With several words, a
            target has a column of each.
        stands_alone: Whether a heading may be the word alone, without `:NAME`.
        states_order: Whether a heading may end with `=` and the labels in their order.
        is_required: Whether an empty cell is an error.
        may_be_empty: Whether an empty cell is an answer; otherwise it means that the answer is not known.
        spreads: Whether the texts of the column are few, so that each of them is spread over splits and batches.
    """

    name: ClassVar[str]
    words: ClassVar[tuple[str, ...]]
    stands_alone: ClassVar[bool] = False
    states_order: ClassVar[bool] = False
    is_required: ClassVar[bool] = False
    may_be_empty: ClassVar[bool] = False
    spreads: ClassVar[bool] = False

    @abstractmethod
    def read(self, column: LabelColumn, cells: Sequence[str]) -> str:
        """Return the text that stands for the cells of an image, one cell per column; "" without an answer.

        Raises:
            ValueError: The cells are wrong. The message names the heading and says what to do.
        """

    @abstractmethod
    def target(self, data: Path, column: LabelColumn, texts: Sequence[str], train: Sequence[str] | None) -> Target:
        """Return the target that the texts of a column make.

        Args:
            data: The data set, for messages.
            column: The column.
            texts: Texts of the images that define the classes.
            train: Texts of the training images, which must be enough to learn from; None if nothing is learned.

        Raises:
            DataError: There is no answer, or a model cannot learn from these.
        """

    @abstractmethod
    def answer(self, target: Target, text: str) -> Answer:
        """Return the answer that a text stands for; () if it is not known."""

    @abstractmethod
    def describe(self, target: Target, train: Sequence[Answer], validation: Sequence[Answer]) -> str:
        """Return a line on the answers of the training and the validation images."""

    def labels(self, text: str) -> list[str]:
        """Return the names of classes in a text; none for kinds without classes."""
        return []


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column of a CSV file that holds answers, or several columns that make one target.

    Attributes:
        name: Name of the target: the heading without its first part, such as `label:`.
        reader: Kind of the target.
        headings: Whole headings.
        order: Labels that the heading states in their order; empty if it states none.
    """

    name: str
    reader: ColumnKind
    headings: tuple[str, ...]
    order: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Name of the kind of the target."""
        return self.reader.name

    @property
    def heading(self) -> str:
        """The headings as text."""
        return " and ".join(self.headings)

    def labels(self, text: str) -> list[str]:
        """Return the labels in a cell."""
        return self.reader.labels(text)


class LabelKind(ColumnKind):
    """Classes, which are named by the cells; see `ColumnKind` for the members."""

    least: ClassVar[int]
    stands_alone = True

    def read(self, column: LabelColumn, cells: Sequence[str]) -> str:
        (cell,) = cells
        if cell and not all(self.labels(cell)):
            raise ValueError(f"{column.heading} {cell!r} has an empty label; remove the extra {SEPARATOR!r}")
        return cell

    def target(self, data: Path, column: LabelColumn, texts: Sequence[str], train: Sequence[str] | None) -> Target:
        classes = tuple(sorted(set(chain.from_iterable(map(self.labels, texts)))))
        if not classes:
            raise empty_column(data, column)
        target = Target(column.name, self.name, classes)
        if train is not None:
            present = set(chain.from_iterable(map(self.labels, train)))
            check_trainable(
                f"{data}, column {column.heading}", classes, {classes.index(label) for label in present}, self.least
            )
        return target

    def answer(self, target: Target, text: str) -> Answer:
        return target.numbers(self.labels(text))

    def describe(self, target: Target, train: Sequence[Answer], validation: Sequence[Answer]) -> str:
        return class_line(target.column, target.classes, chain.from_iterable(train), chain.from_iterable(validation))


class SingleLabelColumn(LabelKind):
    """`label:NAME`: every image is of exactly one class."""

    name = SINGLE_LABEL
    words = ("label",)
    is_required = spreads = True
    least = 2

    def labels(self, text: str) -> list[str]:
        return [text]


class MultiLabelColumn(LabelKind):
    """`labels:NAME`: any number of classes holds, separated by `SEPARATOR`."""

    name = MULTI_LABEL
    words = ("labels",)
    may_be_empty = True
    least = 1

    def labels(self, text: str) -> list[str]:
        return [label.strip() for label in text.split(SEPARATOR)] if text else []


Kinds = Sequence[ColumnKind]

LABEL_KINDS: Kinds = (SingleLabelColumn(), MultiLabelColumn())
"""The kinds that every data set may have."""


def empty_column(data: Path, column: LabelColumn) -> DataError:
    """Return the error of a column without a single answer."""
    return DataError(f"{data}: the column {column.heading} is empty; fill it, or leave it out")


def check_trainable(where: object, classes: Sequence[str], present: set[int], least: int = 2) -> None:
    """Raise DataError if there are too few classes, or if one of them has no training image.

    Args:
        where: Data set, and column if there are several, for messages.
        classes: The classes.
        present: Numbers of the classes of the training images.
        least: Least number of classes.
    """
    if len(classes) < least and classes != ("",):
        actual = f"only {classes[0]!r}" if classes else "no image to train on"
        raise DataError(f"{where}: a classifier needs two classes or more, found {actual}")
    if missing := [label for number, label in enumerate(classes) if number not in present]:
        raise DataError(f"{where}: no training image{f' of class {missing[0]!r}' if missing[0] else ''}; add some")


def class_line(heading: str, classes: Sequence[str], train: Iterable[float], validation: Iterable[float]) -> str:
    """Return a line on classes with their numbers of images, from the class numbers of the images."""
    before, after = Counter(train), Counter(validation)
    named = [f"{name:.{LONGEST}} ({before[number]} + {after[number]})" for number, name in enumerate(classes[:NAMED])]
    more = f", and {len(classes) - NAMED} more" if len(classes) > NAMED else ""
    return f"{heading} (training + validation images): {', '.join(named)}{more}"
