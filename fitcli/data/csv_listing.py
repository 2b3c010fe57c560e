"""Reads the CSV file that lists the images of a data set. It decodes no pixels and does not import torch.

A column `label` holds the class of each image. Several columns `label:NAME` are several targets with one class each; a
column `labels` or `labels:NAME` holds any number of classes, separated by "|"; its empty cells hold none. A task may
have further kinds of columns, see `column_kinds.py`.

Columns `series`, `level`, `mpp`, `z`, `t` and `channels`, or the same at the end of a path (`a.tif#series=1&z=3`),
choose what is read of an image.

For tasks whose answers lie in a file beside each image, the column `labels` names that file.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

from fitcli.annotations.labels import labels_inside
from fitcli.data.class_names import composed
from fitcli.data.column_kinds import LABEL_KINDS, Kinds, LabelColumn
from fitcli.data.image_names import AmbiguousName, NamedImages
from fitcli.errors import DataError, FitError
from fitcli.files.csv_cells import original_text
from fitcli.files.csv_quotes import STRAY_QUOTE, stray_quote
from fitcli.files.path_choice import KEYS, choice_text, split_choice, split_pattern, stored_path
from fitcli.files.spelling import existing_spelling
from fitcli.images.read_as import AS_STORED
from fitcli.runs.targets import SEPARATOR, SINGLE_LABEL

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Split by each word that names it, for folders and for CSV files."""

SEPARATORS = (",", ";", "\t")
"""Characters that may separate the columns of a CSV file."""

Labels = Literal["needed", "welcome", "ignored", "files", "objects"]

"""Whether a task requires classes, uses them if there are any ("welcome"), or ignores them; or whether its labels lie
in a file beside each image ("files"), or its objects in a file beside each image or in one of several ("objects")."""

FILE_COLUMNS = {"files": ("labels",), "objects": ("objects", "labels")}
"""Columns that name a file of labels, by the uses of labels that lie in files; the first with a cell counts."""

IN_FILES = frozenset(FILE_COLUMNS)
"""The uses of labels that lie in files."""

TRIED = 10
"""Number of cells that are taken for all, when it is asked whether they name files."""

COLUMNS = ("path", "split", "fold", *KEYS)
"""Columns of a CSV file beside those of labels and of patients."""

PATIENT, NO_GROUPS = "patient", "none"
"""Column whose images stay together unless another is chosen, and the choice of no column."""


PLAIN = LabelColumn("label", LABEL_KINDS[0], ("label",))
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
        fold: Cell of the column `fold`.
        label_part: Name of the image in a file that holds the labels of several images; "" in a file of its own.
        line: Line of the CSV file; 0 without one.
    """

    path: Path
    key: str
    labels: tuple[str, ...]
    split: str
    label_file: Path | None = None
    label_key: str = ""
    patient: str = ""
    fold: str = ""
    label_part: str = ""
    line: int = field(default=0, compare=False)

    def where(self, data: Path) -> str:
        """Return the data set and the line of the image in it, if there is one, for messages."""
        return f"{data}, line {self.line}" if self.line else str(data)


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a data set.

    Attributes:
        rows: The images.
        columns: The label columns that their cells belong to.
        notes: Sentences on files and folders that were passed over.
        in_files: Whether the labels lie in a file beside each image.
        warnings: Possible faults of the splits, one line each.
    """

    rows: list[ListedImage]
    columns: tuple[LabelColumn, ...]
    notes: tuple[str, ...] = ()
    in_files: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether every image has at most one class."""
        return len(self.columns) < 2 and all(column.kind == SINGLE_LABEL for column in self.columns)


def read_csv(
    path: Path,
    labels: Labels,
    several: bool,
    group_by: str | None = None,
    images: Path | None = None,
    strict: bool = True,
    kinds: Kinds = LABEL_KINDS,
) -> Listing:
    """Read the images that a CSV file lists.

    Args:
        path: The CSV file.
        labels: Whether images need a class.
        several: Whether to read all label columns; otherwise only the column `label`.
        group_by: Column of the patients; None for `patient`, if there is one, and `NO_GROUPS` for no column.
        images: Folder of the images; None for that of the CSV file.
        strict: Whether the column `group_by` must be there; otherwise, `patient` stands in for it.
        kinds: The kinds of columns that hold answers.

    Raises:
        DataError: The file is not UTF-8, lacks a column, or has a row that is incomplete or names a missing file.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    separator = _separator(text)
    if (line := stray_quote(text, separator)) is not None:
        raise DataError(f"{path}, line {line}: {STRAY_QUOTE}")
    # newline="": the csv module must see the line breaks within quotes as they are.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return _table(NamedImages(path, images), reader, labels, kinds if several else None, group_by, strict)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _separator(text: str) -> str:
    """Return the separator of the columns. Spreadsheets write semicolons in locales with a decimal comma."""
    first = text.partition("\n")[0]
    for separator in SEPARATORS:
        if "path" in {name.strip(' "\r').lower() for name in first.split(separator)}:
            return separator
    return ","


def _table(
    images: NamedImages,
    reader: csv.DictReader[str],
    labels: Labels,
    kinds: Kinds | None,
    group_by: str | None,
    strict: bool,
) -> Listing:
    path = images.table
    words = {word for kind in kinds or LABEL_KINDS for word in kind.words}
    headings = [_heading(name, words) for name in reader.fieldnames or []]
    columns = () if labels in ("ignored", *IN_FILES) else tuple(_label_columns(path, headings, kinds))
    if "path" not in headings or (labels == "needed" and not columns):
        forms = {"needed": "path,label[,split]", "files": "path,labels[,split]", "objects": "path,objects[,split]"}
        form = forms.get(labels, "path[,label][,split]")
        advice = "; name the column of classes label, or several of them label:NAME"
        more = advice if kinds is not None and "path" in headings else ""
        raise DataError(f"{path}: needs the columns {form}, has {','.join(headings) or 'none'}{more}")
    patient = patient_column(path, headings, words, group_by, strict)
    reader.fieldnames = headings
    filled = [(reader.line_num, row) for row in reader if any(_text(value) for value in row.values())]
    listed = [listed_image(images, line, row, columns, patient) for line, row in filled]
    known = [*COLUMNS, patient, *FILE_COLUMNS.get(labels, ())]
    others = [heading for heading in headings if heading and heading not in known]
    if labels in IN_FILES:
        each = zip(filled, listed, strict=True)
        listed = [_with_file(images, line, row, image, labels) for (line, row), image in each]
    else:
        _refuse_files(path, listed, columns)
        others = [heading for heading in others if heading.partition(":")[0] not in words]
    notes = (f"columns of {path.name} passed over: {', '.join(others)}",) if others else ()
    return Listing(listed, columns, notes, in_files=labels in IN_FILES)


def patient_column(
    path: Path, headings: Sequence[str], words: Container[str], group_by: str | None, strict: bool
) -> str:
    """Return the heading of the column of patients; "" without one.

    Args:
        path: The CSV file, for messages.
        headings: Its headings, in lower case.
        words: First parts of headings that name a target, which keeps its case.
        group_by, strict: See `read_csv`.

    Raises:
        DataError: There is no such column.
    """
    if group_by == NO_GROUPS:
        return ""
    wanted = PATIENT if group_by is None else _heading(group_by, words)
    if wanted in headings:
        return wanted
    if group_by is None or not strict:
        return PATIENT if PATIENT in headings else ""
    raise DataError(f"{path}: has no column {group_by} for --group-by; it has {', '.join(filter(None, headings))}")


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


def _heading(name: str, words: Container[str]) -> str:
    """Return a heading in lower case, except for the name of a target, which keeps its case."""
    first, colon, target = name.strip().partition(":")
    word = first.strip().lower()
    return f"{word}:{composed(target.strip())}" if colon and word in words else name.strip().lower()


def _label_columns(path: Path, headings: Sequence[str], kinds: Kinds | None) -> Iterator[LabelColumn]:
    """Yield the columns of answers; without kinds, only the column `label`."""
    by_word = {word: kind for kind in kinds or LABEL_KINDS for word in kind.words}
    names: set[str] = set()
    for heading in headings:
        word, colon, rest = heading.partition(":")
        kind = by_word.get(word)
        if kind is None or not (colon or kind.stands_alone) or (kinds is None and heading != PLAIN.heading):
            continue
        first, equals, order = rest.partition("=") if kind.states_order else (rest, "", "")
        name = first.strip() if colon else heading
        others = [f"{other}:{rest}" for other in kind.words if other != word]
        if missing := [other for other in others if other not in headings]:
            raise DataError(f"{path}: has the column {heading!r}, but no {missing[0]!r}; they belong together")
        if others and word != kind.words[0] and headings.count(heading) == 1:
            continue  # read with the first of its columns
        if not name or name in names:
            wrong = "twice" if name else "without a name"
            raise DataError(f"{path}: has the column {heading!r} {wrong}; give every label column its own name")
        names.add(name)
        labels = tuple(label.strip() for label in order.split(SEPARATOR)) if equals else ()
        yield LabelColumn(name, kind, (heading, *others), labels)


def listed_image(
    images: NamedImages, line: int, row: dict[str, str | None], columns: Sequence[LabelColumn], patient: str
) -> ListedImage:
    """Return the image of a row.

    Args:
        images: The images that the CSV file may name.
        line: Number of the line, for messages.
        row: Cells by heading.
        columns: Columns of answers.
        patient: Heading of the column of patients; "" without one.

    Raises:
        DataError: A cell is empty or wrong, or names no file.
    """
    try:
        return _listed_image(images, line, row, columns, patient)
    except DataError as error:
        headings = [heading for heading in row if heading is not None]
        given = sum(row[heading] is not None for heading in headings)
        if given == len(headings):
            raise
        raise DataError(f"{error} (the line has {given} of {len(headings)} fields)") from None


def _listed_image(
    images: NamedImages, line: int, row: dict[str, str | None], columns: Sequence[LabelColumn], patient: str
) -> ListedImage:
    path = images.table
    if any(map(_text, row.get(None, ()))):  # type: ignore[call-overload]
        raise DataError(
            f"{path}, line {line}: has more fields than the first line; put quotes around those with commas"
        )
    name, split = _text(row.get("path")), _text(row.get("split")).lower()
    cells = [[composed(original_text(_text(row.get(heading)))) for heading in c.headings] for c in columns]
    missing = [c.heading for c, own in zip(columns, cells, strict=True) if c.reader.is_required and not any(own)]
    if not name or missing:
        empty = [*([] if name else ["path"]), *missing]
        raise DataError(f"{path}, line {line}: {' and '.join(empty)} must not be empty; fill it in, or remove the line")
    try:
        labels = tuple(c.reader.read(c, own) for c, own in zip(columns, cells, strict=True))
    except ValueError as error:
        raise DataError(f"{path}, line {line}: {error}") from None
    if columns and not any(text or c.reader.may_be_empty for c, text in zip(columns, labels, strict=True)):
        asked = " and ".join(column.heading for column in columns)
        raise DataError(f"{path}, line {line}: has no answer in {asked}; fill one in, or remove the line")
    if split and split not in SPLITS:
        raise DataError(f"{path}, line {line}: split {split!r} is none of train, val, test; correct it")
    return ListedImage(
        *_image(images, line, name, images.find, row),
        labels,
        SPLITS.get(split, ""),
        patient=composed(_text(row.get(patient))) if patient else "",
        fold=_text(row.get("fold")),
        line=line,
    )


def _image(
    images: NamedImages, line: int, cell: str, find: Callable[[str], Path | None], row: dict[str, str | None]
) -> tuple[Path, str]:
    """Return the file of an image and its key, both with the choice of planes in the cell and in columns of the row."""
    columns = {name: text for name in KEYS if (text := _text(row.get(name)))}
    find = partial(_found, images, line, find)
    name, ending = split_pattern(cell)
    if not ending or any(find(each) is not None for each in _names(cell)):
        name, ending = cell, ""
    file, key = _file(images, line, name, find)
    try:
        choices = split_choice(f"{file}{ending}")[1] if ending else {}
        if twice := choices.keys() & columns.keys():
            raise FitError(f"{min(twice)} stands in the path and in a column; leave one of them out")
        AS_STORED.with_text(choices | columns)
    except FitError as error:
        raise DataError(f"{images.table}, line {line}: {error}") from None
    text = choice_text(choices | columns)
    return (Path(f"{file}#{text}"), f"{key}#{text}") if text else (file, key)


def _with_file(
    images: NamedImages, line: int, row: dict[str, str | None], image: ListedImage, labels: Labels
) -> ListedImage:
    """Return the image of a row with the file of its labels. An OME-Zarr image may hold its label image itself."""
    cell = next(filter(None, (_text(row.get(column)) for column in FILE_COLUMNS[labels])), "")
    if cell:
        file, key = _image(images, line, cell, images.find_labels, {})
    else:
        stored = stored_path(image.path)
        inside = labels_inside(stored) if labels == "files" else None
        if inside is None:
            return image
        file, key = inside, f"{image.key}/{inside.relative_to(stored).as_posix()}"
    return replace(image, label_file=file, label_key=key)


def _found(images: NamedImages, line: int, find: Callable[[str], Path | None], name: str) -> Path | None:
    """Return the file of a name; None if there is none."""
    try:
        return find(name)
    except AmbiguousName as error:
        raise DataError(f"{images.table}, line {line}: {error}") from None


def _file(images: NamedImages, line: int, name: str, find: Callable[[str], Path | None]) -> tuple[Path, str]:
    """Return the file that a cell names, and its name as `ListedImage.key`."""
    names = _names(name)
    for each in names:
        if (file := find(each)) is not None:
            return file, composed(each)
    raise DataError(f"{images.table}, line {line}: no file {images.place(names[-1])}")


def _names(name: str) -> list[str]:
    """Return the names that a cell may mean."""
    names = [name, original_text(name)]  # the second is of a CSV file that fit wrote
    if os.sep == "/":
        names += [each.replace("\\", "/") for each in names]  # of a CSV file from Windows
    return list(dict.fromkeys(names))


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
