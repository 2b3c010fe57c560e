"""Finds the images of a data set, with their classes and splits. It decodes no pixels and does not import torch.

A data set is one of:

- a folder with one subfolder per class, or with `train` and `val` folders that have such subfolders;
- a CSV file with the columns `path,label[,split]`, see `csv_listing.py`; paths are relative to the file.

If classes are not needed, the images may lie in the folder itself, and the column `label` may be missing.

If the labels lie in files, it is a folder as in `paired_listing.py`, or a CSV file with the columns
`path,labels[,split][,patient]`. If objects lie in files, `object_listing.py` has the forms.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.data.csv_listing import IN_FILES, LabelColumn, Labels, ListedImage, Listing, read_csv
from fitcli.data.folder_listing import read_folder
from fitcli.data.label_file_checks import check_label_files
from fitcli.data.object_listing import read_object_listing
from fitcli.data.paired_listing import holds_pairs, read_pairs
from fitcli.errors import DataError
from fitcli.files.spelling import existing_spelling
from fitcli.runs.targets import Target, slices

VALIDATION_FRACTION = 0.2
"""Fraction of the images of each class to hold out for validation, if the data set names no splits."""


Anchors = tuple[NDArray[np.int64], ...]
"""Positions of each kind, (row, column) [n 2] in pixels of an image as it is read; every kind has one or more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its target.

    Attributes:
        path: File of the image.
        target: Value that only a task understands. For classes: the number of the class; 0 without classes; -1 for an
            unknown class of a test image. For `Dataset.targets`: the numbers of the classes that hold, where the
            classes of all targets are numbered consecutively. For labels in files: the file, or None without one;
            an `ObjectSource` for objects.
        anchors: Positions that training windows may be drawn around; empty without any.
    """

    path: Path
    target: Any
    anchors: Anchors = field(default=(), compare=False, repr=False)


Listed = tuple[str, str, str]
"""An image: its name within the data set, its classes as text or the name of its file of labels ("" without), and
"train" or "val"."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images for training and for validation.

    Attributes:
        classes: Names of the classes, sorted: a class number is an index into them. Empty without classes. With
            `targets`, the classes of the first.
        train, validation, test: Disjoint samples. `validation` is empty only if the data set names splits without it.
            Training never reads `test`.
        fingerprint: SHA-256 of the classes, and of the names, labels and splits of the images outside of `test`. It
            stays the same when the data set moves.
        listed: The images outside of `test`.
        targets: All targets, if there are several or one is multi-label; else empty.
        notes: Sentences on files and folders that were passed over.
        warnings: Possible faults of the targets, one line each.
        surveyed: Result of `Task.survey_targets`, which only the task understands; None without.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    fingerprint: str
    test: tuple[Sample, ...] = ()
    listed: tuple[Listed, ...] = ()
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    surveyed: Any = None

    @property
    def validation_fingerprint(self) -> str:
        """SHA-256 of the names and labels of the images in `validation`."""
        return _digest([image for image in self.listed if image[2] == "val"])


def load_dataset(path: Path, labels: Labels = "needed", training: bool = True, several: bool = True) -> Dataset:
    """Find the images of a data set.

    Args:
        path: Folder or CSV file.
        labels: Whether images need a class. If not, a folder without subfolders of images may hold the images itself,
            and of the label columns of a CSV file only `label` is read. "files" looks for a file of labels per
            image, "objects" for a file of objects per image or for all.
        training: Whether the data set must be enough to train on: two classes or more, with images of each.
        several: Whether to read all label columns of a CSV file, if images need a class.

    Raises:
        DataError: The data set is missing or empty, or names missing files. For training: it has one class, or a class
            with too few images.
    """
    path = existing_spelling(path) or path
    needed = {"needed": "one subfolder per class", **dict.fromkeys(IN_FILES, "images/ and labels/")}.get(
        labels, "images"
    )
    if labels == "objects" and path.exists():
        listing = read_object_listing(path)
    elif path.is_dir():
        if labels not in IN_FILES and holds_pairs(path):
            raise DataError(
                f"{path}: holds images/ and labels/ with files of the same names, which are no classes; give a --task "
                "whose labels lie in files, or another folder or a CSV file"
            )
        listing = read_pairs(path) if labels == "files" else read_folder(path, labels)
    elif path.is_file():
        listing = read_csv(path, labels, several=several and labels == "needed")
    else:
        raise DataError(f"{path}: no such data set; give a folder with {needed}, or a CSV file")
    rows = listing.rows
    if not rows:
        raise DataError(f"{path}: no images found; give a folder with {needed}, or a CSV file")
    if labels == "ignored" or (labels == "welcome" and len({row.labels for row in rows}) == 1):
        # A single class gives a model nothing to distinguish.
        listing = replace(listing, rows=[replace(row, labels=()) for row in rows], columns=())
    _check_duplicates(path, listing)
    if not any(row.split in ("train", "val") for row in rows):
        listing = replace(listing, rows=_hold_out(path, listing, training))
    if listing.in_files:
        return _dataset_of_files(path, listing, training, labels)
    return (_dataset if listing.is_plain else _dataset_of_targets)(path, listing, training)


def _check_duplicates(path: Path, listing: Listing) -> None:
    """Refuse an image that is listed twice: it could be used for both training and validation."""
    seen: dict[str, ListedImage] = {}
    folders: dict[str, str] = {}
    for row in listing.rows:
        before = seen.setdefault(_real_path(row.path, folders), row)
        if before is not row:
            pairs = zip(before.labels, row.labels, strict=True)
            differing = next(((one, other) for one, other in pairs if one != other), None)
            listed = "twice" if differing is None else f"as {differing[0]!r} and as {differing[1]!r}"
            also = f" (the other time as {before.path})" if before.path != row.path else ""
            raise DataError(f"{path}: {row.path} is listed {listed}{also}; keep one")


def _real_path(path: Path, folders: dict[str, str]) -> str:
    """Return a path without links. `folders` caches the real paths of folders, to save system calls."""
    folder, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return f"{folders[folder]}/{name}"


def _hold_out(path: Path, listing: Listing, training: bool) -> list[ListedImage]:
    """Assign images without a split to training or validation, a fraction of each class.

    The choice depends on the names of the images alone, so adding images reshuffles few of the others.
    """
    first = _spread_column(listing.columns)
    by_label: defaultdict[str, list[ListedImage]] = defaultdict(list)
    assigned = [row for row in listing.rows if row.split]
    for row in listing.rows:
        if not row.split and listing.in_files and row.label_file is None:
            # It validates nothing.
            assigned.append(replace(row, split="train"))
        elif not row.split:
            by_label["" if first is None else row.labels[first]].append(row)
    for label, members in by_label.items():
        # The images of a patient are alike, so they stay together. Without patients, each image is by itself.
        units = {row.patient or row.key for row in members}
        if len(units) < 2 and training:
            one = "image" if len(members) == 1 else f"patient, {members[0].patient}"
            raise DataError(
                f"{path}: {f'class {label!r} has' if label else 'there is'} one {one}; it needs two, one to train on "
                "and one to validate, or a split column in a CSV file"
            )
        ordered = sorted(units, key=lambda unit: hashlib.sha256(unit.encode("utf-8", "surrogateescape")).digest())
        held = set(ordered[: max(1, round(VALIDATION_FRACTION * len(units)))])
        assigned += [replace(row, split="val" if (row.patient or row.key) in held else "train") for row in members]
    return sorted(assigned, key=lambda row: row.key)


def _spread_column(columns: Sequence[LabelColumn]) -> int | None:
    """Return the number of the first single-label column, whose classes are spread evenly over the splits."""
    return next((number for number, column in enumerate(columns) if column.kind == "single-label"), None)


def _dataset(path: Path, listing: Listing, training: bool) -> Dataset:
    """Build a data set with one class per image, or without classes."""
    rows = [(row, row.labels[0] if row.labels else "") for row in listing.rows]
    learned = tuple(sorted({label for row, label in rows if row.split != "test"}))
    classes = learned if training else tuple(sorted({label for _, label in rows}))
    numbers = {label: number for number, label in enumerate(classes)}
    samples = {
        split: tuple(Sample(row.path, numbers.get(label, -1)) for row, label in rows if (row.split or "train") == split)
        for split in ("train", "val", "test")
    }
    if training:
        _check_trainable(path, classes, {sample.target for sample in samples["train"]})
    listed = [(row.key, label, row.split or "train") for row, label in rows if row.split != "test"]
    return Dataset(
        classes=() if classes == ("",) else classes,
        train=samples["train"],
        validation=samples["val"],
        test=samples["test"],
        fingerprint=_digest([learned, listed]),
        listed=tuple(listed),
        notes=listing.notes,
    )


def _dataset_of_targets(path: Path, listing: Listing, training: bool) -> Dataset:
    """Build a data set with several targets, or with one multi-label target."""
    learned = [row for row in listing.rows if row.split != "test"]
    targets = tuple(
        _target(path, column, number, learned if training else listing.rows)
        for number, column in enumerate(listing.columns)
    )
    offsets = [part.start for part in slices(targets)]
    samples: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for row in listing.rows:
        read = [column.labels(cell) for column, cell in zip(listing.columns, row.labels, strict=True)]
        per_target = [target.numbers(labels) for target, labels in zip(targets, read, strict=True)]
        numbers = tuple(offset + n for offset, own in zip(offsets, per_target, strict=True) for n in own)
        samples[row.split or "train"].append(Sample(row.path, numbers))
    if training:
        present = {number for sample in samples["train"] for number in sample.target}
        for column, target, part in zip(listing.columns, targets, slices(targets), strict=True):
            seen = {number - part.start for number in present if part.start <= number < part.stop}
            least = 2 if target.is_single else 1
            _check_trainable(f"{path}, column {column.heading}", target.classes, seen, least)
    # Labels of test images do not count, so that the fingerprint is that of training.
    learned_labels = [
        [column.heading, *sorted({label for row in learned for label in column.labels(row.labels[number])})]
        for number, column in enumerate(listing.columns)
    ]
    listed = [(row.key, "; ".join(row.labels), row.split or "train") for row in learned]
    return Dataset(
        classes=targets[0].classes,
        train=tuple(samples["train"]),
        validation=tuple(samples["val"]),
        test=tuple(samples["test"]),
        fingerprint=_digest([learned_labels, listed]),
        listed=tuple(listed),
        targets=targets,
        notes=listing.notes,
    )


def _dataset_of_files(path: Path, listing: Listing, training: bool, labels: Labels) -> Dataset:
    """Build a data set whose labels lie in a file beside each image."""
    noun = "objects" if labels == "objects" else "labels"
    notes = (*listing.notes, *check_label_files(path, listing.rows, training, noun))
    target = _object_source if labels == "objects" else _label_file
    samples = {
        split: tuple(Sample(row.path, target(row)) for row in listing.rows if (row.split or "train") == split)
        for split in ("train", "val", "test")
    }
    listed = [(row.key, row.label_key, row.split or "train") for row in listing.rows if row.split != "test"]
    return Dataset(
        classes=(),
        train=samples["train"],
        validation=samples["val"],
        test=samples["test"],
        fingerprint=_digest([[], listed]),
        listed=tuple(listed),
        notes=notes,
    )


def _label_file(row: ListedImage) -> Path | None:
    return row.label_file


def _object_source(row: ListedImage) -> ObjectSource | None:
    return None if row.label_file is None else ObjectSource(row.label_file, row.label_part)


def _target(path: Path, column: LabelColumn, number: int, rows: Iterable[ListedImage]) -> Target:
    labels = {label for row in rows for label in column.labels(row.labels[number])}
    if not labels:
        raise DataError(f"{path}: the column {column.heading} is empty; fill it, or leave it out")
    return Target(column.name, column.kind, tuple(sorted(labels)))


def _digest(document: object) -> str:
    # ASCII escapes also encode file names that are not valid UTF-8.
    return hashlib.sha256(json.dumps(document).encode("ascii")).hexdigest()


def _check_trainable(where: object, classes: Sequence[str], present: set[int], least: int = 2) -> None:
    if len(classes) < least and classes != ("",):
        actual = f"only {classes[0]!r}" if classes else "no image to train on"
        raise DataError(f"{where}: a classifier needs two classes or more, found {actual}")
    if missing := [label for number, label in enumerate(classes) if number not in present]:
        raise DataError(f"{where}: no training image{f' of class {missing[0]!r}' if missing[0] else ''}; add some")


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most `most` of the samples, evenly spaced."""
    count = min(most, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]
