"""Checks the files of labels that a data set lists, before any of them is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fitcli.annotations.labels import has_polygons
from fitcli.data.csv_listing import ListedImage
from fitcli.errors import DataError
from fitcli.files.wording import counted

SPLIT_NAMES = {"train": "training", "val": "validation"}
"""Split in messages."""


def check_label_files(path: Path, rows: Sequence[ListedImage], training: bool, noun: str = "labels") -> tuple[str, ...]:
    """Check which images have labels, and return notes on those that have none, and on labels of several images.

    Args:
        path: The data set, for messages.
        rows: Its images.
        training: Whether the data set must be enough to train on.
        noun: Name of the content of the files, as in their column and folder.

    Raises:
        DataError: No image has labels, or none of a split; or some labels are polygons and others are label images.
    """
    labelled = [row for row in rows if row.label_file is not None]
    if not labelled:
        raise DataError(
            f"{path}: no image has {noun}; name them in the column {noun} of a CSV file, or put them into a "
            "folder labels/ beside images/, under the names of the images"
        )
    if noun == "labels":
        _check_kinds(path, [row.label_file for row in labelled if row.label_file is not None])
    for split, name in SPLIT_NAMES.items() if training else ():
        present = [row for row in rows if (row.split or "train") == split]
        if not any(row.label_file for row in present) and (present or split == "train"):
            raise DataError(f"{path}: no {name} image has {noun}; label some, or move them there")
    without = len(rows) - len(labelled)
    has = "has" if without == 1 else "have"
    notes = [f"{without} of {counted(len(rows), 'image')} {has} no {noun}"] if without else []
    return *notes, *_shared_files(labelled, noun)


def _check_kinds(path: Path, files: Sequence[Path]) -> None:
    kinds = {has_polygons(file): file for file in files}
    if len(kinds) > 1:
        raise DataError(
            f"{path}: some labels are polygons ({kinds[True].name}) and others label images ({kinds[False].name}); "
            "train on one kind"
        )


def _shared_files(labelled: Sequence[ListedImage], noun: str) -> list[str]:
    """Return a note on labels that several images share: right for several recordings of one place, else a slip."""
    counts = Counter(row.label_file for row in labelled if not row.label_part)
    shared = [(file, count) for file, count in counts.most_common() if file is not None and count > 1]
    if not shared:
        return []
    more = f", and {counted(len(shared) - 1, 'more file')}" if len(shared) > 1 else ""
    return [f"several images have the same {noun}: {shared[0][0].name} ({shared[0][1]} images){more}"]
