"""Which images there are, what they show, and which of them are held out. No pixel is decoded, torch is not imported.

A data set is a folder with one subfolder per class, or one with `train` and `val` folders of such, or a CSV file with
the columns `path,label[,split]`, paths relative to it. Where classes are not needed, the images may lie in the folder
itself, and the column `label` may be missing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fitcli.errors import DataError
from fitcli.images.open import ZARR_MARKERS, find_images

VALIDATION_SHARE = 0.2
"""Of each class, where the data set names no split."""

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Words that name a split, in folders and in the CSV."""

SEPARATORS = (",", ";", "\t")
"""Of the columns of a CSV."""


Labels = Literal["needed", "welcome", "ignored"]
"""What a task makes of classes. Where they are welcome, a data set has them or has not."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and the number of its class; 0 where there are no classes."""

    path: Path
    label: int


Listed = tuple[str, str, str]
"""An image: its name within the data set, its class ("" where there are none), and "train" or "val"."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images for training and for validation.

    Attributes:
        classes: Names, sorted; a label is an index into them. Empty where there are none.
        train, validation, test: Disjoint; `validation` may be empty only where the data set says so itself. What is
            in `test` is never looked at in training; a label there is -1 where no other image has it.
        fingerprint: Of the classes, and of the names, labels and split of the images, wherever the data set lies.
        listed: What the fingerprint is of, without `test`.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    fingerprint: str
    test: tuple[Sample, ...] = ()
    listed: tuple[Listed, ...] = ()

    @property
    def validation_fingerprint(self) -> str:
        """Of the names and labels of the images in `validation`."""
        return _digest([image for image in self.listed if image[2] == "val"])


@dataclass(frozen=True, slots=True)
class _Row:
    """An image as listed: `key` names it stably; `label` and `split` are empty where none is given."""

    path: Path
    key: str
    label: str
    split: str


def load_dataset(path: Path, labels: Labels = "needed", training: bool = True) -> Dataset:
    """Find the images of a data set.

    Args:
        path: Folder or CSV file.
        labels: Whether images need a class. Where not, images that lie in no subfolder count where there are no others.
        training: It has to have what training needs: two classes or more, and images of each to train on.

    Raises:
        DataError: There is none, it is empty, or names missing files; for training, has one class, or a class with too
            few images.
    """
    needed = "one subfolder per class" if labels == "needed" else "images"
    if path.is_dir():
        rows = _folder_rows(path) or ([] if labels == "needed" else _loose_rows(path))
    elif path.is_file():
        rows = _csv_rows(path, labels)
    else:
        raise DataError(f"{path}: no such data set; give a folder with {needed}, or a CSV file")
    if not rows:
        raise DataError(f"{path}: no images found; give a folder with {needed}, or a CSV file")
    if labels == "ignored" or (labels == "welcome" and len({row.label for row in rows}) == 1):
        # One class tells nothing apart.
        rows = [replace(row, label="") for row in rows]
    _check_labels(path, rows)
    if not any(row.split for row in rows):
        rows = _hold_out(path, rows, training)
    return _dataset(path, rows, training)


def _folder_rows(root: Path) -> list[_Row]:
    """Images in subfolders, one per class."""
    folders = _subfolders(root)
    if _are_splits(folders):
        return [
            _Row(image, image.relative_to(root).as_posix(), label.name, SPLITS[split.name.lower()])
            for split in folders
            for label in _subfolders(split)
            for image in find_images(label)
        ]
    return [
        _Row(image, image.relative_to(root).as_posix(), label.name, "")
        for label in folders
        for image in find_images(label)
    ]


def _loose_rows(root: Path) -> list[_Row]:
    """Images in the folder itself, or in its `train` and `val` folders."""
    folders = _subfolders(root)
    places = [(folder, SPLITS[folder.name.lower()]) for folder in folders] if _are_splits(folders) else [(root, "")]
    return [
        _Row(image, image.relative_to(root).as_posix(), "", split)
        for folder, split in places
        for image in find_images(folder)
    ]


def _are_splits(folders: Sequence[Path]) -> bool:
    names = {folder.name.lower() for folder in folders}
    return "train" in names and names <= set(SPLITS)


def _subfolders(root: Path) -> list[Path]:
    """Folders that may be classes: neither hidden nor images themselves."""
    return sorted(
        child
        for child in root.iterdir()
        if child.is_dir()
        and not child.name.startswith(".")
        and not any((child / marker).is_file() for marker in ZARR_MARKERS)
    )


def _csv_rows(path: Path, labels: Labels) -> list[_Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from None
    # As the csv module asks for: a line break within quotes belongs to its field.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_separator(text))
    try:
        return _csv_table(path, reader, labels)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _separator(text: str) -> str:
    """What sets columns apart in the first line: spreadsheets write semicolons where a comma is the decimal point."""
    first = text.partition("\n")[0]
    for separator in SEPARATORS:
        if "path" in {name.strip(' "\r').lower() for name in first.split(separator)}:
            return separator
    return ","


def _csv_table(path: Path, reader: csv.DictReader[str], labels: Labels) -> list[_Row]:
    columns = [name.strip().lower() for name in reader.fieldnames or []]
    if not {"path"} | ({"label"} if labels == "needed" else set()) <= set(columns):
        form = "path,label[,split]" if labels == "needed" else "path[,label][,split]"
        raise DataError(f"{path}: needs the columns {form}, has {','.join(columns) or 'none'}")
    reader.fieldnames = columns
    labelled = "label" in columns and labels != "ignored"
    return [
        _csv_row(path, reader.line_num, row, labelled) for row in reader if any(_text(value) for value in row.values())
    ]


def _csv_row(path: Path, line: int, row: dict[str, str | None], labelled: bool) -> _Row:
    name, label, split = _text(row.get("path")), _text(row.get("label")), _text(row.get("split")).lower()
    if not name or (labelled and not label):
        raise DataError(f"{path}, line {line}: needs a path{' and a label' if labelled else ''}")
    if split and split not in SPLITS:
        raise DataError(f"{path}, line {line}: split {split!r} is none of train, val, test")
    image = path.parent / name
    # `Path.exists` raises where a name is too long to be one.
    if "\\" in name and os.sep == "/" and not os.path.exists(image):
        name = name.replace("\\", "/")  # a table from Windows
        image = path.parent / name
    if not os.path.exists(image):
        raise DataError(f"{path}, line {line}: no file {image}; paths are relative to the CSV file")
    return _Row(image, name, label, SPLITS.get(split, ""))


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _check_labels(path: Path, rows: Iterable[_Row]) -> None:
    """One image, one label: an image that is listed twice would otherwise train and validate."""
    seen: dict[str, _Row] = {}
    folders: dict[str, str] = {}
    for row in rows:
        before = seen.setdefault(_real_path(row.path, folders), row)
        if before is not row:
            said = "twice" if before.label == row.label else f"as {before.label!r} and as {row.label!r}"
            raise DataError(f"{path}: {row.path} is listed {said}; keep one")


def _real_path(path: Path, folders: dict[str, str]) -> str:
    """The path without links. `folders` remembers those of folders: there are few of them for many images."""
    folder, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return f"{folders[folder]}/{name}"


def _hold_out(path: Path, rows: Sequence[_Row], training: bool) -> list[_Row]:
    """Hold out a share of each class. Which images it is depends on their names alone, so that adding images does not
    reshuffle the others more than it must.
    """
    by_label: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_label[row.label].append(row)
    split = []
    for label, members in by_label.items():
        if len(members) < 2 and training:
            raise DataError(
                f"{path}: {f'class {label!r} has' if label else 'there is'} one image; it needs two, one to train on "
                "and one to validate, or a split column in a CSV file"
            )
        members = sorted(members, key=lambda row: hashlib.sha256(row.key.encode()).digest())
        held = max(1, round(VALIDATION_SHARE * len(members)))
        split += [_Row(r.path, r.key, r.label, "val" if i < held else "train") for i, r in enumerate(members)]
    return sorted(split, key=lambda row: row.key)


def _dataset(path: Path, rows: Sequence[_Row], training: bool) -> Dataset:
    learned = tuple(sorted({row.label for row in rows if row.split != "test"}))
    classes = learned if training else tuple(sorted({row.label for row in rows}))
    numbers = {label: number for number, label in enumerate(classes)}
    samples = {
        split: tuple(Sample(row.path, numbers.get(row.label, -1)) for row in rows if (row.split or "train") == split)
        for split in ("train", "val", "test")
    }
    if training:
        _check_trainable(path, classes, samples["train"])
    listed = [(row.key, row.label, row.split or "train") for row in rows if row.split != "test"]
    return Dataset(
        classes=() if classes == ("",) else classes,
        train=samples["train"],
        validation=samples["val"],
        test=samples["test"],
        fingerprint=_digest([learned, listed]),
        listed=tuple(listed),
    )


def _digest(document: object) -> str:
    # As ASCII: names of files need not be text.
    return hashlib.sha256(json.dumps(document).encode("ascii")).hexdigest()


def _check_trainable(path: Path, classes: Sequence[str], train: Sequence[Sample]) -> None:
    if len(classes) < 2 and classes != ("",):
        found = f"only {classes[0]!r}" if classes else "none"
        raise DataError(f"{path}: a classifier needs two classes or more, found {found}")
    present = {sample.label for sample in train}
    if missing := [label for number, label in enumerate(classes) if number not in present]:
        raise DataError(f"{path}: no training image{f' of class {missing[0]!r}' if missing[0] else ''}")


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` of the samples, evenly spaced."""
    count = min(most, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]
