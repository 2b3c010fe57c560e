"""Finds the images of a data set, with their classes and splits. It decodes no pixels and does not import torch.

A data set is one of:

- a folder with one subfolder per class, or with `train` and `val` folders that have such subfolders;
- a CSV file with the columns `path,label[,split][,patient][,fold]`, see `csv_listing.py`; paths are relative to the
  file, or to a folder of images.

If classes are not needed, the images may lie in the folder itself, and the column `label` may be missing.

If the labels lie in files, it is a folder as in `paired_listing.py`, or a CSV file with the columns
`path,labels[,split][,patient][,fold]`. If objects lie in files, `object_listing.py` has the forms.

`splitting.py` assigns the images to training and validation.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.label_contents import label_contents
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.data.column_kinds import LABEL_KINDS, Kinds, LabelColumn, check_trainable
from fitcli.data.csv_listing import IN_FILES, Labels, ListedImage, Listing, read_csv
from fitcli.data.folder_listing import read_folder
from fitcli.data.label_file_checks import check_label_files
from fitcli.data.object_listing import read_object_listing
from fitcli.data.paired_listing import holds_pairs, read_pairs
from fitcli.data.splitting import HELD_OUT, Splitting, refuse_columns, split_images
from fitcli.errors import DataError
from fitcli.files.spelling import existing_spelling
from fitcli.runs.targets import Target

Anchors = tuple[NDArray[np.int64], ...]
"""Positions of each kind, (row, column) [n 2] in pixels of an image as it is read; every kind has one or more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its target.

    Attributes:
        path: File of the image.
        target: Value that only a task understands. For classes: the number of the class; 0 without classes; -1 for an
            unknown class of a test image. For `Dataset.targets`: the `Answer` to each of them. For labels in files: the
            file, or None without one; an `ObjectSource` for objects.
        anchors: Positions that training windows may be drawn around; empty without any.
        key: Name within the data set, which stays the same when the data set moves.
        patient: Name of the patient; "" if the data set does not say.
    """

    path: Path
    target: Any
    anchors: Anchors = field(default=(), compare=False, repr=False)
    key: str = field(default="", compare=False, repr=False)
    patient: str = field(default="", compare=False, repr=False)


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
        label_files: Their files of labels, by name within the data set.
        patients: The patients of `listed`; empty if the data set names none.
        targets: All targets, if there are several or one is multi-label; else empty.
        answers: A line on the answers to each target, for a training.
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
    label_files: Mapping[str, Path] = field(default_factory=dict)
    patients: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()
    answers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    surveyed: Any = None

    @property
    def validation_fingerprint(self) -> str:
        """SHA-256 of the names and labels of the images in `validation`."""
        return _digest([image for image in self.listed if image[2] == "val"])


def load_dataset(
    path: Path,
    labels: Labels = "needed",
    training: bool = True,
    several: bool = True,
    splitting: Splitting = HELD_OUT,
    images: Path | None = None,
    kinds: Kinds = LABEL_KINDS,
) -> Dataset:
    """Find the images of a data set.

    Args:
        path: Folder or CSV file.
        labels: Whether images need a class. If not, a folder without subfolders of images may hold the images itself,
            and of the label columns of a CSV file only `label` is read. "files" looks for a file of labels per
            image, "objects" for a file of objects per image or for all.
        training: Whether the data set must be enough to train on: two classes or more, with images of each.
        several: Whether to read all label columns of a CSV file, if images need a class.
        splitting: How images are assigned to training and validation.
        images: Folder that the paths of a CSV file are relative to; None for that of the file.
        kinds: The kinds of label columns.

    Raises:
        DataError: The data set is missing or empty, or names missing files. For training: it has one class, or a class
            with too few images.
    """
    path = existing_spelling(path) or path
    listing = list_images(path, labels, training, several, splitting.group_by, images, kinds)
    if labels == "ignored" or (labels == "welcome" and len({row.labels for row in listing.rows}) == 1):
        # A single class gives a model nothing to distinguish.
        listing = replace(listing, rows=[replace(row, labels=()) for row in listing.rows], columns=())
    _check_duplicates(path, listing)
    listing = split_images(path, listing, splitting, training, partial(_shown, objects=labels == "objects"))
    if listing.in_files:
        return _dataset_of_files(path, listing, training, labels)
    return (_dataset if listing.is_plain else _dataset_of_targets)(path, listing, training)


def list_images(
    path: Path,
    labels: Labels = "needed",
    training: bool = True,
    several: bool = True,
    group_by: str | None = None,
    images: Path | None = None,
    kinds: Kinds = LABEL_KINDS,
) -> Listing:
    """Return what a data set lists, with no other splits than those that it names; see `load_dataset`.

    Args:
        group_by: Column of the patients, see `Splitting`. In training, it must be there.

    Raises:
        DataError: The data set is missing or empty, or names missing files.
    """
    path = existing_spelling(path) or path
    in_files = dict.fromkeys(IN_FILES, "images/ and labels/")
    needed = {"needed": "one subfolder per class", **in_files}.get(labels, "images")
    if labels == "objects" and path.exists():
        listing = read_object_listing(path, group_by, images, training)
    elif path.is_dir():
        if labels not in IN_FILES and holds_pairs(path):
            raise DataError(
                f"{path}: holds images/ and labels/ with files of the same names, which are no classes; give a --task "
                "whose labels lie in files, or another folder or a CSV file"
            )
        refuse_columns(path, group_by if training else None, images)
        listing = read_pairs(path) if labels == "files" else read_folder(path, labels)
    elif path.is_file():
        listing = read_csv(path, labels, several and labels == "needed", group_by, images, training, kinds)
    else:
        raise DataError(f"{path}: no such data set; give a folder with {needed}, or a CSV file")
    if not listing.rows:
        raise DataError(f"{path}: no images found; give a folder with {needed}, or a CSV file")
    return listing


def _shown(rows: Sequence[ListedImage], objects: bool) -> Sequence[Collection[str]]:
    """Return the classes that the labels in files of each image show."""
    files = [(row, row.label_file) for row in rows if row.label_file is not None]
    found = label_contents([(row.path, ObjectSource(file, row.label_part) if objects else file) for row, file in files])
    by_key = {row.key: shown for (row, _), shown in zip(files, found, strict=True)}
    return [by_key.get(row.key, ()) for row in rows]


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


def _dataset(path: Path, listing: Listing, training: bool) -> Dataset:
    """Build a data set with one class per image, or without classes."""
    rows = [(row, row.labels[0] if row.labels else "") for row in listing.rows]
    learned = tuple(sorted({label for row, label in rows if row.split != "test"}))
    classes = learned if training else tuple(sorted({label for _, label in rows}))
    numbers = {label: number for number, label in enumerate(classes)}
    samples = {
        split: tuple(_sample(row, numbers.get(label, -1)) for row, label in rows if (row.split or "train") == split)
        for split in ("train", "val", "test")
    }
    if training:
        check_trainable(path, classes, {sample.target for sample in samples["train"]})
    listed = [(row.key, label, row.split or "train") for row, label in rows if row.split != "test"]
    return Dataset(
        classes=() if classes == ("",) else classes,
        train=samples["train"],
        validation=samples["val"],
        test=samples["test"],
        fingerprint=_digest([learned, listed]),
        listed=tuple(listed),
        patients=_patients(listing),
        warnings=listing.warnings,
        notes=listing.notes,
    )


def _dataset_of_targets(path: Path, listing: Listing, training: bool) -> Dataset:
    """Build a data set with several targets, or with one that is not one class per image."""
    learned = [row for row in listing.rows if row.split != "test"]
    train = [row for row in learned if row.split != "val"]
    targets = tuple(
        column.reader.target(
            path,
            column,
            [row.labels[number] for row in (learned if training else listing.rows)],
            [row.labels[number] for row in train] if training else None,
        )
        for number, column in enumerate(listing.columns)
    )
    samples: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for row in listing.rows:
        each = zip(listing.columns, targets, row.labels, strict=True)
        answers = tuple(column.reader.answer(target, text) for column, target, text in each)
        samples[row.split or "train"].append(_sample(row, answers))
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
        patients=_patients(listing),
        warnings=listing.warnings,
        targets=targets,
        answers=_describe_answers(listing.columns, targets, samples) if training else (),
        notes=listing.notes,
    )


def _describe_answers(
    columns: Sequence[LabelColumn], targets: Sequence[Target], samples: Mapping[str, Sequence[Sample]]
) -> tuple[str, ...]:
    return tuple(
        column.reader.describe(target, *([sample.target[number] for sample in samples[s]] for s in ("train", "val")))
        for number, (column, target) in enumerate(zip(columns, targets, strict=True))
    )


def _dataset_of_files(path: Path, listing: Listing, training: bool, labels: Labels) -> Dataset:
    """Build a data set whose labels lie in a file beside each image."""
    noun = "objects" if labels == "objects" else "labels"
    notes = (*listing.notes, *check_label_files(path, listing.rows, training, noun))
    target = _object_source if labels == "objects" else _label_file
    samples = {
        split: tuple(_sample(row, target(row)) for row in listing.rows if (row.split or "train") == split)
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
        label_files={row.label_key: row.label_file for row in listing.rows if row.label_file and row.split != "test"},
        patients=_patients(listing),
        warnings=listing.warnings,
        notes=notes,
    )


def _sample(row: ListedImage, target: Any) -> Sample:
    return Sample(row.path, target, key=row.key, patient=row.patient)


def _patients(listing: Listing) -> tuple[str, ...]:
    patients = tuple(row.patient for row in listing.rows if row.split != "test")
    return patients if any(patients) else ()


def _label_file(row: ListedImage) -> Path | None:
    return row.label_file


def _object_source(row: ListedImage) -> ObjectSource | None:
    return None if row.label_file is None else ObjectSource(row.label_file, row.label_part)


def _digest(document: object) -> str:
    # ASCII escapes also encode file names that are not valid UTF-8.
    return hashlib.sha256(json.dumps(document).encode("ascii")).hexdigest()


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return at most `most` of the samples, evenly spaced."""
    return [samples[number] for number in _even_numbers(len(samples), most)]


def spread_first(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Return all samples: first those of `spread`, then the others in their order, to replace any that do not fit."""
    first = _even_numbers(len(samples), most)
    others = sorted(set(range(len(samples))).difference(first))
    return [samples[number] for number in (*first, *others)]


def _even_numbers(count: int, most: int) -> list[int]:
    """Return at most `most` numbers below `count`, evenly spaced."""
    chosen = min(most, count)
    return [number * count // chosen for number in range(chosen)]
