"""Assigns the images of a data set to training and validation: a fifth held out, or one of several folds.

The images of a patient stay together. The choice depends on the names of patients and images, and for folds on the
classes, so it is the same in training, in evaluation and after the data set has moved. It does not import torch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fitcli.data.column_kinds import LabelColumn
from fitcli.data.csv_listing import NO_GROUPS, ListedImage, Listing
from fitcli.data.folds import Unit, check_classes, check_dealing, deal, empty_fold, rarest_first, to_assign, units_of
from fitcli.errors import DataError
from fitcli.runs.train_settings import MOST, FoldsBy

VALIDATION_FRACTION = 0.2
"""Fraction of the patients of each class to hold out for validation, if the data set names no splits. A patient is an
image where the data set names no patients."""

NAMED = 3
"""Number of patients, classes or folds to name in a message."""


Contents = Callable[[Sequence[ListedImage]], Sequence[Collection[str]]]
"""Returns the classes that the labels of each image show, for images whose labels lie in files."""


@dataclass(frozen=True, slots=True)
class Splitting:
    """How images are assigned to training and validation.

    Attributes:
        folds: Number of folds; None for those of the column `fold`, or without folds.
        fold: The fold that validates; None to hold out a fifth. Folds that are dealt are counted from 1.
        group_by: Column whose value keeps images together; None for `patient`, if there is one, and `NO_GROUPS` to
            assign each image by itself.
        folds_by: Whether images whose labels lie in files are dealt into folds by what their labels show, or by their
            names alone as in earlier versions.
    """

    folds: int | None = None
    fold: int | None = None
    group_by: str | None = None
    folds_by: FoldsBy = "contents"


HELD_OUT = Splitting()
"""A fifth held out, where the data set names no splits."""


def split_images(
    path: Path, listing: Listing, splitting: Splitting, training: bool, contents: Contents | None = None
) -> Listing:
    """Return the images of a data set with their splits, and warnings about them.

    Args:
        path: The data set, for messages.
        listing: Its images; those that it names a split for keep it.
        splitting: The kind of splits.
        training: Whether to refuse splits that a model cannot be trained and validated on. Otherwise, images of a data
            set that names splits keep them, and folds may be empty.
        contents: Contents of labels in files, by which images are dealt into folds; None to deal them by their names.

    Raises:
        DataError: There are too few images or patients, no such fold, or splits that contradict the folds.
    """
    splits_named = any(row.split in ("train", "val") for row in listing.rows)
    column = [] if splitting.fold is None else fold_numbers(path, listing.rows)
    if splitting.fold is None:
        rows = listing.rows if splits_named else _hold_out(path, listing, training)
    elif column:
        rows = _with_fold(path, listing.rows, splitting, column, training)
    elif splits_named and not training:
        rows = listing.rows
    else:
        if splitting.folds_by == "names" or not listing.in_files:
            contents = None
        rows = _with_dealt_fold(path, listing, splitting, training, contents)
    notes, warnings = _unused_folds(path, listing, splitting), [*_patient_warnings(path, rows)]
    if training:
        warnings += _missing_classes(path, rows, listing.columns, "the fold has " if column else "")
    return replace(listing, rows=rows, notes=(*listing.notes, *notes), warnings=tuple(warnings))


def refuse_columns(folder: Path, group_by: str | None, images: Path | None) -> None:
    """Refuse options that name columns of a CSV file, or the folder of its images, for a data set that is a folder.

    Raises:
        DataError: There is one.
    """
    if group_by not in (None, NO_GROUPS):
        raise DataError(f"{folder}: --group-by names a column; list the images in a CSV file to have one")
    if images is not None:
        raise DataError(f"{folder}: --images goes with a CSV file that lists images; leave it out for a folder")


def _hold_out(path: Path, listing: Listing, training: bool) -> list[ListedImage]:
    """Hold out a fraction of the units of each class among the images without a split."""
    spread = _spread_column(listing.columns)
    free, unlabelled = to_assign(listing)
    assigned = [(row.key, "train") for row in unlabelled]
    units = units_of((row if spread is None else replace(row, labels=(row.labels[spread],)) for row in free),
                     () if spread is None else (listing.columns[spread],))  # fmt: skip
    total, held = Counter(label for unit in units for label in unit.classes), set[int]()
    kept = Counter(total)
    for label in rarest_first(units):
        members = [unit for unit in units if label in unit.classes]
        if len(members) < 2 and spread is not None and not label:
            # It is not known which class it is of, so none loses its only one.
            continue
        if len(members) < 2 and training:
            raise DataError(_alone(path, label, members[0]))
        wanted = max(1, round(VALIDATION_FRACTION * len(members)))
        # First those that add no other class: it may have enough.
        for unit in sorted(members, key=lambda unit: (len(unit.classes), unit.digest)):
            needed = any(kept[each] == 1 < total[each] for each in unit.classes)
            if total[label] - kept[label] >= wanted or id(unit) in held or needed:
                continue
            held.add(id(unit))
            kept.subtract(unit.classes.keys())
    for unit in units:
        assigned += [(row.key, "val" if id(unit) in held else "train") for row in unit.images]
    return _with_splits(listing.rows, dict(assigned))


def _with_splits(rows: Iterable[ListedImage], splits: dict[str, str]) -> list[ListedImage]:
    """Return images in the order of their names, with the splits by name."""
    assigned = (replace(row, split=splits[row.key]) if row.key in splits else row for row in rows)
    return sorted(assigned, key=lambda row: row.key)


def _alone(path: Path, label: str, unit: Unit) -> str:
    one = "image" if len(unit.images) == 1 else f"patient, {unit.name}"
    return (
        f"{unit.images[0].where(path)}: {f'class {label!r} has' if label else 'there is'} one {one}; it needs two, one "
        "to train on and one to validate, or a split column in a CSV file"
    )


def _spread_column(columns: Sequence[LabelColumn]) -> int | None:
    """Return the number of the first column whose texts are spread evenly over the splits, such as classes."""
    return next((number for number, column in enumerate(columns) if column.reader.spreads), None)


def _with_dealt_fold(
    path: Path, listing: Listing, splitting: Splitting, training: bool, contents: Contents | None
) -> list[ListedImage]:
    """Deal the images outside of `test` into folds, and hold out one of them."""
    fold, folds = splitting.fold, splitting.folds
    if folds is None:
        if not training:
            return listing.rows
        raise DataError(f"{path}: has no column fold for --fold {fold}; add one, or give --folds N")
    if training:
        check_dealing(path, listing, folds)
    spread = _spread_column(listing.columns)
    number: Iterable[int] = range(len(listing.columns)) if spread is None else (spread,)
    number = [n for n in number if listing.columns[n].reader.spreads or listing.columns[n].reader.may_be_empty]
    columns = tuple(listing.columns[n] for n in number)
    free, unlabelled = to_assign(listing)
    assigned = [(row.key, "train") for row in unlabelled]
    cells = (replace(row, labels=tuple(row.labels[n] for n in number)) for row in free)
    shown = {} if contents is None else {row.key: own for row, own in zip(free, contents(free), strict=True)}
    units = units_of(cells, columns, shown)
    if training:
        check_classes(path, units, folds, single=spread is not None)
    for place, dealt in enumerate(deal(units, folds), 1):
        assigned += [(row.key, "val" if place == fold else "train") for unit in dealt for row in unit.images]
    return _with_splits(listing.rows, dict(assigned))


def _with_fold(
    path: Path, rows: Sequence[ListedImage], splitting: Splitting, values: Sequence[int], training: bool
) -> list[ListedImage]:
    """Hold out the images of one fold of the column `fold`."""
    fold, folds = splitting.fold, splitting.folds
    if training and fold not in values:
        raise DataError(f"{path}: has no fold {fold} in its column fold, which has {_named(values)}; give one of these")
    if training and folds is not None and folds != len(values):
        raise DataError(f"{path}: has {len(values)} folds in its column fold, not {folds}; leave --folds out")
    assigned = {}
    for row in rows:
        if row.split == "test":
            continue
        if not row.fold:
            if training and row.split != "train":
                raise empty_fold(path, row)
            continue
        split = "val" if _fold_number(path, row) == fold else "train"
        if training and row.split not in ("", split):
            raise DataError(
                f"{row.where(path)}: {row.key} has split {row.split} and fold {row.fold}, which contradict each "
                f"other where fold {fold} validates; leave the column split out, or use it for test alone"
            )
        assigned[row.key] = split
    return _with_splits(rows, assigned)


def fold_numbers(path: Path, rows: Iterable[ListedImage]) -> list[int]:
    """Return the numbers in the column `fold`, sorted; empty without the column.

    Raises:
        DataError: A cell is no whole number.
    """
    return sorted({_fold_number(path, row) for row in rows if row.fold})


def _fold_number(path: Path, row: ListedImage) -> int:
    try:
        number = float(row.fold)
        if number != int(number) or not 0 <= number <= MOST:
            raise ValueError
        return int(number)
    except (ValueError, OverflowError):
        raise DataError(
            f"{row.where(path)}: the fold of {row.key} is {row.fold!r:.40}, no whole number from 0 to {MOST}; "
            "correct it"
        ) from None


def _unused_folds(path: Path, listing: Listing, splitting: Splitting) -> list[str]:
    if splitting.fold is not None or not any(row.fold for row in listing.rows):
        return []
    names = _named(sorted({row.fold for row in listing.rows if row.fold}))
    return [f"column fold of {path.name} not used: --fold K holds out one of {names}"]


def _patient_warnings(path: Path, rows: Sequence[ListedImage]) -> list[str]:
    """Return warnings of patients in several splits and of images without a patient."""
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.patient:
            splits[row.patient].add(row.split or "train")
    warnings = []
    if mixed := [patient for patient, found in splits.items() if len(found) > 1]:
        warnings.append(f"{path}: patients with images in several splits: {_named(mixed)}; validation is then too good")
    if splits and (without := [row.key for row in rows if not row.patient]):
        warnings.append(
            f"{path}: {len(without)} of {len(rows)} images have no patient ({_named(without)}); each counts as a "
            "patient of its own, and validation is too good if they are not"
        )
    return warnings


def _missing_classes(path: Path, rows: Sequence[ListedImage], columns: Sequence[LabelColumn], who: str) -> list[str]:
    """Return a warning of the classes without an image to validate on, if there are such images at all."""
    spread = _spread_column(columns)
    if spread is None:
        return []
    found = {row.labels[spread] for row in rows if row.split == "val"}
    missing = sorted({row.labels[spread] for row in rows if row.split != "test"} - found) if found else []
    return [f"{path}: {who}no image to validate on of class {_named(missing)}"] if missing else []


def _named(items: Sequence[object]) -> str:
    return f"{', '.join(map(str, items[:NAMED]))}{', ...' if len(items) > NAMED else ''}"
