"""Which images there are, what they show, and which of them are held out. No pixel is decoded, torch is not imported.

A data set is a folder with one subfolder per class, or one with `train` and `val` folders of such, or a CSV file with
the columns `path,label[,split]`, paths relative to it; `listing.py` says how a CSV file asks several things of each
image. Where classes are not needed, the images may lie in the folder itself, and the column `label` may be missing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fitcli.data.csv_listing import PLAIN, SPLITS, LabelColumn, Labels, ListedImage, Listing, read_csv
from fitcli.errors import DataError
from fitcli.images.open import ZARR_MARKERS, find_images
from fitcli.runs.targets import Target, slices

VALIDATION_SHARE = 0.2
"""Of each class, where the data set names no split."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and what is known of it.

    Attributes:
        path: File of the image.
        target: Value that only a task understands. For classes: the number of the class, 0 without classes, -1 for a
            class that no other image has; with several targets, the numbers of the classes that hold, counted over
            those of all targets in their order.
    """

    path: Path
    target: Any


Listed = tuple[str, str, str]
"""An image: its name within the data set, its classes ("" where there are none), and "train" or "val"."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images for training and for validation.

    Attributes:
        classes: Names, sorted; a label is an index into them. Empty where there are none. With tasks, of the first.
        train, validation, test: Disjoint; `validation` may be empty only where the data set says so itself. What is
            in `test` is never looked at in training; a label there is -1 where no other image has it.
        fingerprint: Of the classes, and of the names, labels and split of the images, wherever the data set lies.
        listed: What the fingerprint is of, without `test`.
        targets: All targets, if there are several or one is multi-label; else empty.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    fingerprint: str
    test: tuple[Sample, ...] = ()
    listed: tuple[Listed, ...] = ()
    targets: tuple[Target, ...] = ()

    @property
    def validation_fingerprint(self) -> str:
        """Of the names and labels of the images in `validation`."""
        return _digest([image for image in self.listed if image[2] == "val"])


def load_dataset(path: Path, labels: Labels = "needed", training: bool = True, several: bool = True) -> Dataset:
    """Find the images of a data set.

    Args:
        path: Folder or CSV file.
        labels: Whether images need a class. Where not, images that lie in no subfolder count where there are no others,
            and of the label columns of a CSV file only the one that is called `label`.
        training: It has to have what training needs: two classes or more, and images of each to train on.
        several: All label columns count, where images need a class.

    Raises:
        DataError: There is none, it is empty, or names missing files; for training, has one class, or a class with too
            few images.
    """
    needed = "one subfolder per class" if labels == "needed" else "images"
    if path.is_dir():
        listing = Listing(_folder_rows(path) or ([] if labels == "needed" else _loose_rows(path)), (PLAIN,))
    elif path.is_file():
        listing = read_csv(path, labels, several=several and labels == "needed")
    else:
        raise DataError(f"{path}: no such data set; give a folder with {needed}, or a CSV file")
    rows = listing.rows
    if not rows:
        raise DataError(f"{path}: no images found; give a folder with {needed}, or a CSV file")
    if labels == "ignored" or (labels == "welcome" and len({row.labels for row in rows}) == 1):
        # One class tells nothing apart.
        listing = Listing([replace(row, labels=()) for row in rows], ())
    _check_labels(path, listing)
    if not any(row.split in ("train", "val") for row in rows):
        listing = replace(listing, rows=_hold_out(path, listing, training))
    return (_dataset if listing.is_plain else _dataset_of_targets)(path, listing, training)


def _folder_rows(root: Path) -> list[ListedImage]:
    """Images in subfolders, one per class."""
    folders = _subfolders(root)
    if _are_splits(folders):
        return [
            ListedImage(image, image.relative_to(root).as_posix(), (label.name,), SPLITS[split.name.lower()])
            for split in folders
            for label in _subfolders(split)
            for image in find_images(label)
        ]
    return [
        ListedImage(image, image.relative_to(root).as_posix(), (label.name,), "")
        for label in folders
        for image in find_images(label)
    ]


def _loose_rows(root: Path) -> list[ListedImage]:
    """Images in the folder itself, or in its `train` and `val` folders."""
    folders = _subfolders(root)
    places = [(folder, SPLITS[folder.name.lower()]) for folder in folders] if _are_splits(folders) else [(root, "")]
    return [
        ListedImage(image, image.relative_to(root).as_posix(), ("",), split)
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


def _check_labels(path: Path, listing: Listing) -> None:
    """One image, one row: an image that is listed twice would otherwise train and validate."""
    seen: dict[str, ListedImage] = {}
    folders: dict[str, str] = {}
    for row in listing.rows:
        before = seen.setdefault(_real_path(row.path, folders), row)
        if before is not row:
            pairs = zip(before.labels, row.labels, strict=True)
            differing = next(((one, other) for one, other in pairs if one != other), None)
            said = "twice" if differing is None else f"as {differing[0]!r} and as {differing[1]!r}"
            raise DataError(f"{path}: {row.path} is listed {said}; keep one")


def _real_path(path: Path, folders: dict[str, str]) -> str:
    """The path without links. `folders` remembers those of folders: there are few of them for many images."""
    folder, name = os.path.split(path)
    if name in ("", ".", "..") or os.path.islink(path):
        return os.path.realpath(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return f"{folders[folder]}/{name}"


def _hold_out(path: Path, listing: Listing, training: bool) -> list[ListedImage]:
    """Hold out a share of each class, of the images that belong to no split yet. Which images it is depends on their
    names alone, so that adding images does not reshuffle the others more than it must.
    """
    first = _spread_column(listing.columns)
    by_label: defaultdict[str, list[ListedImage]] = defaultdict(list)
    split = [row for row in listing.rows if row.split]
    for row in listing.rows:
        if not row.split:
            by_label["" if first is None else row.labels[first]].append(row)
    for label, members in by_label.items():
        if len(members) < 2 and training:
            raise DataError(
                f"{path}: {f'class {label!r} has' if label else 'there is'} one image; it needs two, one to train on "
                "and one to validate, or a split column in a CSV file"
            )
        members = sorted(members, key=lambda row: hashlib.sha256(row.key.encode("utf-8", "surrogateescape")).digest())
        held = max(1, round(VALIDATION_SHARE * len(members)))
        split += [replace(row, split="val" if i < held else "train") for i, row in enumerate(members)]
    return sorted(split, key=lambda row: row.key)


def _spread_column(columns: Sequence[LabelColumn]) -> int | None:
    """The first column of one class per image: its classes are spread evenly over splits and batches."""
    return next((number for number, column in enumerate(columns) if column.kind == "single-label"), None)


def _dataset(path: Path, listing: Listing, training: bool) -> Dataset:
    """One class per image, or none."""
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
    )


def _dataset_of_targets(path: Path, listing: Listing, training: bool) -> Dataset:
    """Several questions, or one with any number of answers."""
    learned = [row for row in listing.rows if row.split != "test"]
    targets = tuple(
        _target(path, column, number, learned if training else listing.rows)
        for number, column in enumerate(listing.columns)
    )
    offsets = [part.start for part in slices(targets)]
    samples: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for row in listing.rows:
        read = [column.labels(cell) for column, cell in zip(listing.columns, row.labels, strict=True)]
        found = [target.numbers(labels) for target, labels in zip(targets, read, strict=True)]
        numbers = tuple(offset + n for offset, own in zip(offsets, found, strict=True) for n in own)
        samples[row.split or "train"].append(Sample(row.path, numbers))
    if training:
        present = {number for sample in samples["train"] for number in sample.target}
        for column, target, part in zip(listing.columns, targets, slices(targets), strict=True):
            seen = {number - part.start for number in present if part.start <= number < part.stop}
            least = 2 if target.is_single else 1
            _check_trainable(f"{path}, column {column.heading}", target.classes, seen, least)
    # As in training, where what is scored alone does not count.
    known = [
        [column.heading, *sorted({label for row in learned for label in column.labels(row.labels[number])})]
        for number, column in enumerate(listing.columns)
    ]
    listed = [(row.key, "; ".join(row.labels), row.split or "train") for row in learned]
    return Dataset(
        classes=targets[0].classes,
        train=tuple(samples["train"]),
        validation=tuple(samples["val"]),
        test=tuple(samples["test"]),
        fingerprint=_digest([known, listed]),
        listed=tuple(listed),
        targets=targets,
    )


def _target(path: Path, column: LabelColumn, number: int, rows: Iterable[ListedImage]) -> Target:
    found = {label for row in rows for label in column.labels(row.labels[number])}
    if not found:
        raise DataError(f"{path}: the column {column.heading} is empty; fill it, or leave it out")
    return Target(column.name, column.kind, tuple(sorted(found)))


def _digest(document: object) -> str:
    # As ASCII: names of files need not be text.
    return hashlib.sha256(json.dumps(document).encode("ascii")).hexdigest()


def _check_trainable(where: object, classes: Sequence[str], present: set[int], least: int = 2) -> None:
    if len(classes) < least and classes != ("",):
        found = f"only {classes[0]!r}" if classes else "no image to train on"
        raise DataError(f"{where}: a classifier needs two classes or more, found {found}")
    if missing := [label for number, label in enumerate(classes) if number not in present]:
        raise DataError(f"{where}: no training image{f' of class {missing[0]!r}' if missing[0] else ''}")


def spread(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most `most` of the samples, evenly spaced."""
    count = min(most, len(samples))
    return [samples[number * len(samples) // count] for number in range(count)]
