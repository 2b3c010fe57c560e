"""Images as a data set lists them, and the columns of a CSV file that do so. No pixel is decoded, no torch imported.

A column `label` holds the class of each image. Several columns `label:NAME` ask as many things of each; a column
`labels` or `labels:NAME` holds any number of classes, separated by "|", and none where it is empty.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fitcli.errors import DataError
from fitcli.runs.targets import SEPARATOR, TargetKind

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Words that name a split, in folders and in the CSV."""

SEPARATORS = (",", ";", "\t")
"""Of the columns of a CSV."""

KINDS: dict[str, TargetKind] = {"label": "single-label", "labels": "multi-label"}
"""What a column holds, by how its name begins."""

Labels = Literal["needed", "welcome", "ignored"]
"""What a task makes of classes. Where they are welcome, a data set has them or has not."""


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column of classes: its name without what says of which kind it is."""

    name: str
    kind: TargetKind
    heading: str

    def labels(self, cell: str) -> list[str]:
        """What a cell says."""
        if self.kind == "single-label":
            return [cell]
        return [label.strip() for label in cell.split(SEPARATOR)] if cell else []


PLAIN = LabelColumn("label", "single-label", "label")
"""What folders say, too."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image as listed.

    Attributes:
        path: Of the image.
        key: Names it stably, wherever the data set lies.
        labels: What each label column says; empty where there is none.
        split: Empty where none is given.
    """

    path: Path
    key: str
    labels: tuple[str, ...]
    split: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Images and what the columns of their labels are."""

    rows: list[ListedImage]
    columns: tuple[LabelColumn, ...]

    @property
    def is_plain(self) -> bool:
        """Whether there is at most one question, with one answer."""
        return len(self.columns) < 2 and all(column.kind == "single-label" for column in self.columns)


def read_csv(path: Path, labels: Labels, several: bool) -> Listing:
    """The images that a CSV file lists.

    Args:
        path: Of the file.
        labels: Whether images need a class.
        several: All label columns count; without, only the one that is called `label`.

    Raises:
        DataError: It is no such table, or a row is incomplete or names no file.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    # As the csv module asks for: a line break within quotes belongs to its field.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_separator(text))
    try:
        return _table(path, reader, labels, several)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _separator(text: str) -> str:
    """What sets columns apart in the first line: spreadsheets write semicolons where a comma is the decimal point."""
    first = text.partition("\n")[0]
    for separator in SEPARATORS:
        if "path" in {name.strip(' "\r').lower() for name in first.split(separator)}:
            return separator
    return ","


def _table(path: Path, reader: csv.DictReader[str], labels: Labels, several: bool) -> Listing:
    headings = [_heading(name) for name in reader.fieldnames or []]
    columns = () if labels == "ignored" else tuple(_label_columns(path, headings, several))
    if "path" not in headings or (labels == "needed" and not columns):
        form = "path,label[,split]" if labels == "needed" else "path[,label][,split]"
        more = "; call a column of labels label, or several label:NAME" if several and "path" in headings else ""
        raise DataError(f"{path}: needs the columns {form}, has {','.join(headings) or 'none'}{more}")
    reader.fieldnames = headings
    rows = [_row(path, reader.line_num, row, columns) for row in reader if any(_text(value) for value in row.values())]
    return Listing(rows, columns)


def _heading(name: str) -> str:
    """Lower case but for the name of a task, which is the user's."""
    kind, colon, task = name.strip().partition(":")
    return f"{kind.strip().lower()}:{task.strip()}" if colon and kind.strip().lower() in KINDS else name.strip().lower()


def _label_columns(path: Path, headings: Sequence[str], several: bool) -> Iterator[LabelColumn]:
    names: set[str] = set()
    for heading in headings:
        kind, colon, task = heading.partition(":")
        if kind not in KINDS or (heading != "label" and not several):
            continue
        name = task if colon else heading
        if not name or name in names:
            wrong = "twice" if name else "without a name"
            raise DataError(f"{path}: has the column {heading!r} {wrong}; give every label column a name of its own")
        names.add(name)
        yield LabelColumn(name, KINDS[kind], heading)


def _row(path: Path, line: int, row: dict[str, str | None], columns: Sequence[LabelColumn]) -> ListedImage:
    if any(map(_text, row.get(None, ()))):  # type: ignore[call-overload]
        raise DataError(
            f"{path}, line {line}: has more fields than the first line; put quotes around those with commas"
        )
    name, split = _text(row.get("path")), _text(row.get("split")).lower()
    labels = tuple(_text(row.get(column.heading)) for column in columns)
    missing = [c.heading for c, label in zip(columns, labels, strict=True) if c.kind == "single-label" and not label]
    if not name or missing:
        empty = [*([] if name else ["path"]), *missing]
        raise DataError(f"{path}, line {line}: {' and '.join(empty)} must not be empty; fill in, or remove the line")
    for column, label in zip(columns, labels, strict=True):
        if column.kind == "multi-label" and not all(column.labels(label)):
            raise DataError(f"{path}, line {line}: {column.heading} {label!r} has an empty label")
    if split and split not in SPLITS:
        raise DataError(f"{path}, line {line}: split {split!r} is none of train, val, test")
    return ListedImage(*_file(path, line, name), labels, SPLITS.get(split, ""))


def _file(path: Path, line: int, name: str) -> tuple[Path, str]:
    """The file of a row, and the name that it is known by."""
    image = path.parent / name
    # `Path.exists` raises where a name is too long to be one.
    if "\\" in name and os.sep == "/" and not os.path.exists(image):
        name = name.replace("\\", "/")  # a table from Windows
        image = path.parent / name
    if not os.path.exists(image):
        raise DataError(f"{path}, line {line}: no file {image}; paths are relative to the CSV file")
    return image, name


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
