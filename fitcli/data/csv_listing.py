"""Reads the CSV file that lists the images of a data set. It decodes no pixels and does not import torch.

A column `label` holds the class of each image. Several columns `label:NAME` are several targets with one class each; a
column `labels` or `labels:NAME` holds any number of classes, separated by "|"; its empty cells hold none.

Columns `series`, `level`, `mpp`, `z`, `t` and `channels`, or the same at the end of a path (`a.tif#series=1&z=3`),
choose what is read of an image.

For tasks whose answers lie in a file beside each image, the column `labels` names that file.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fitcli.annotations.labels import label_file, labels_inside
from fitcli.data.class_names import composed
from fitcli.errors import DataError, FitError
from fitcli.files.csv_cells import original_text
from fitcli.files.path_choice import KEYS, choice_text, split_choice, split_pattern, stored_path
from fitcli.files.spelling import existing_spelling
from fitcli.images.read_as import AS_STORED
from fitcli.runs.targets import SEPARATOR, TargetKind

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Split by each word that names it, for folders and for CSV files."""

SEPARATORS = (",", ";", "\t")
"""Characters that may separate the columns of a CSV file."""

KINDS: dict[str, TargetKind] = {"label": "single-label", "labels": "multi-label"}
"""Kind of target by the first part of a column heading."""

Labels = Literal["needed", "welcome", "ignored", "files"]
"""Whether a task requires classes, uses them if there are any ("welcome"), or ignores them; or whether its labels lie
in a file beside each image ("files")."""

TRIED = 10
"""Number of cells that are taken for all, when it is asked whether they name files."""

FILE_COLUMNS = ("path", "labels", "split", "patient", *KEYS)
"""Columns of a CSV file of images with files of labels."""


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column of a CSV file that holds classes.

    Attributes:
        name: Name of the target: the heading without `label:` or `labels:`.
        kind: Kind of the target.
        heading: Whole heading.
    """

    name: str
    kind: TargetKind
    heading: str

    def labels(self, cell: str) -> list[str]:
        """Return the labels in a cell."""
        if self.kind == "single-label":
            return [cell]
        return [label.strip() for label in cell.split(SEPARATOR)] if cell else []


PLAIN = LabelColumn("label", "single-label", "label")
"""The column `label`; folders of classes count as this column."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """An image in the list.

    Attributes:
        path: File of the image.
        key: Name within the data set, which stays the same when the data set moves.
        labels: Cell of each label column; () without label columns.
        split: "train", "val" or "test"; "" if the data set does not say.
        label_file: File of the labels; None without one.
        label_key: Name of that file within the data set; "" without one.
        patient: Name of the patient, whose images stay in one split; "" if the data set does not say.
    """

    path: Path
    key: str
    labels: tuple[str, ...]
    split: str
    label_file: Path | None = None
    label_key: str = ""
    patient: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a data set.

    Attributes:
        rows: The images.
        columns: The label columns that their cells belong to.
        notes: Sentences on files and folders that were passed over.
        in_files: Whether the labels lie in a file beside each image.
    """

    rows: list[ListedImage]
    columns: tuple[LabelColumn, ...]
    notes: tuple[str, ...] = ()
    in_files: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether every image has at most one class."""
        return len(self.columns) < 2 and all(column.kind == "single-label" for column in self.columns)


def read_csv(path: Path, labels: Labels, several: bool) -> Listing:
    """Read the images that a CSV file lists.

    Args:
        path: The CSV file.
        labels: Whether images need a class.
        several: Whether to read all label columns; otherwise only the column `label`.

    Raises:
        DataError: The file is not UTF-8, lacks a column, or has a row that is incomplete or names a missing file.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    # newline="": the csv module must see the line breaks within quotes as they are.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_separator(text))
    try:
        return _table(path, reader, labels, several)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _separator(text: str) -> str:
    """Return the separator of the columns. Spreadsheets write semicolons in locales with a decimal comma."""
    first = text.partition("\n")[0]
    for separator in SEPARATORS:
        if "path" in {name.strip(' "\r').lower() for name in first.split(separator)}:
            return separator
    return ","


def _table(path: Path, reader: csv.DictReader[str], labels: Labels, several: bool) -> Listing:
    headings = [_heading(name) for name in reader.fieldnames or []]
    columns = () if labels in ("ignored", "files") else tuple(_label_columns(path, headings, several))
    if "path" not in headings or (labels == "needed" and not columns):
        form = {"needed": "path,label[,split]", "files": "path,labels[,split]"}.get(labels, "path[,label][,split]")
        advice = "; name the column of classes label, or several of them label:NAME"
        more = advice if several and "path" in headings else ""
        raise DataError(f"{path}: needs the columns {form}, has {','.join(headings) or 'none'}{more}")
    reader.fieldnames = headings
    filled = ((reader.line_num, row) for row in reader if any(_text(value) for value in row.values()))
    if labels != "files":
        listed = [_row(path, line, row, columns) for line, row in filled]
        _refuse_files(path, listed, columns)
        return Listing(listed, columns)
    rows = [_with_file(path, line, row, _row(path, line, row, ())) for line, row in filled]
    others = ", ".join(heading for heading in headings if heading and heading not in FILE_COLUMNS)
    return Listing(rows, (), (f"columns of {path.name} passed over: {others}",) if others else (), in_files=True)


def _refuse_files(path: Path, listed: Sequence[ListedImage], columns: Sequence[LabelColumn]) -> None:
    """Raise DataError if the column `labels` names files of labels, where it should name classes."""
    for number, column in enumerate(columns):
        cells = [image.labels[number] for image in listed if image.labels[number]][:TRIED]
        files = [cell for cell in cells if existing_spelling(path.parent / cell) is not None]
        if column.heading == "labels" and cells and files == cells:
            raise DataError(
                f"{path}: the column labels names files such as {cells[0]}, not classes; give a --task whose labels "
                "lie in files, or name the classes"
            )


def _heading(name: str) -> str:
    """Return a heading in lower case, except for the name of a target, which keeps its case."""
    first, colon, target = name.strip().partition(":")
    kind = first.strip().lower()
    return f"{kind}:{composed(target.strip())}" if colon and kind in KINDS else name.strip().lower()


def _label_columns(path: Path, headings: Sequence[str], several: bool) -> Iterator[LabelColumn]:
    names: set[str] = set()
    for heading in headings:
        kind, colon, target = heading.partition(":")
        if kind not in KINDS or (heading != "label" and not several):
            continue
        name = target if colon else heading
        if not name or name in names:
            wrong = "twice" if name else "without a name"
            raise DataError(f"{path}: has the column {heading!r} {wrong}; give every label column its own name")
        names.add(name)
        yield LabelColumn(name, KINDS[kind], heading)


def _row(path: Path, line: int, row: dict[str, str | None], columns: Sequence[LabelColumn]) -> ListedImage:
    if any(map(_text, row.get(None, ()))):  # type: ignore[call-overload]
        raise DataError(
            f"{path}, line {line}: has more fields than the first line; put quotes around those with commas"
        )
    name, split = _text(row.get("path")), _text(row.get("split")).lower()
    labels = tuple(composed(original_text(_text(row.get(column.heading)))) for column in columns)
    missing = [c.heading for c, label in zip(columns, labels, strict=True) if c.kind == "single-label" and not label]
    if not name or missing:
        empty = [*([] if name else ["path"]), *missing]
        raise DataError(f"{path}, line {line}: {' and '.join(empty)} must not be empty; fill it in, or remove the line")
    for column, label in zip(columns, labels, strict=True):
        if column.kind == "multi-label" and not all(column.labels(label)):
            raise DataError(
                f"{path}, line {line}: {column.heading} {label!r} has an empty label; remove the extra {SEPARATOR!r}"
            )
    if split and split not in SPLITS:
        raise DataError(f"{path}, line {line}: split {split!r} is none of train, val, test; correct it")
    return ListedImage(*_image(path, line, name, row), labels, SPLITS.get(split, ""))


def _image(path: Path, line: int, cell: str, row: dict[str, str | None]) -> tuple[Path, str]:
    """Return the file of an image and its key, both with the choice of planes in the cell and in columns of the row."""
    columns = {name: text for name in KEYS if (text := _text(row.get(name)))}
    name, ending = split_pattern(cell)
    if not ending or _finds(path, cell):
        name, ending = cell, ""
    file, key = _file(path, line, name)
    try:
        choices = split_choice(f"{file}{ending}")[1] if ending else {}
        if twice := choices.keys() & columns.keys():
            raise FitError(f"{min(twice)} stands in the path and in a column; leave one of them out")
        AS_STORED.with_text(choices | columns)
    except FitError as error:
        raise DataError(f"{path}, line {line}: {error}") from None
    text = choice_text(choices | columns)
    return (Path(f"{file}#{text}"), f"{key}#{text}") if text else (file, key)


def _with_file(path: Path, line: int, row: dict[str, str | None], image: ListedImage) -> ListedImage:
    """Return the image of a row with the file of its labels. An OME-Zarr image may hold its labels itself."""
    cell, patient = _text(row.get("labels")), composed(_text(row.get("patient")))
    if cell:
        file, key = _image(path, line, cell, {})
    else:
        stored = stored_path(image.path)
        inside = labels_inside(stored)
        if inside is None:
            return replace(image, patient=patient)
        file, key = inside, f"{image.key}/{inside.relative_to(stored).as_posix()}"
    return replace(image, label_file=file, label_key=key, patient=patient)


def _file(path: Path, line: int, name: str) -> tuple[Path, str]:
    """Return the file that a cell names, and its name as `ListedImage.key`."""
    for each in _names(name):
        if (file := existing_spelling(label_file(path.parent / each))) is not None:
            return file, composed(each)
    last = _names(name)[-1]
    raise DataError(f"{path}, line {line}: no file {path.parent / last}; paths are relative to the CSV file")


def _finds(path: Path, name: str) -> bool:
    return any(existing_spelling(path.parent / each) is not None for each in _names(name))


def _names(name: str) -> list[str]:
    """Return the names that a cell may mean."""
    names = [name, original_text(name)]  # the second is of a CSV file that fit wrote
    if os.sep == "/":
        names += [each.replace("\\", "/") for each in names]  # of a CSV file from Windows
    return list(dict.fromkeys(names))


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
