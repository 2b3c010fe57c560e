"""Deals the images of a data set into folds, those of a patient into the same one. It does not import torch."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fitcli.data.column_kinds import LabelColumn
from fitcli.data.csv_listing import ListedImage, Listing
from fitcli.errors import DataError

NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})
"""No image shows anything that is known."""


@dataclass(frozen=True, eq=False, slots=True)
class Unit:
    """Images that stay together: those of a patient, or one image.

    Attributes:
        name: Name of the patient; without one, that of the image.
        images: The images.
        classes: Number of the images by class.
    """

    name: str
    images: list[ListedImage]
    classes: Counter[str]

    @property
    def digest(self) -> bytes:
        """Hash of the name. In the order of the hashes, the units are shuffled, and new ones move few others."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogateescape")).digest()


def units_of(
    rows: Iterable[ListedImage], columns: Sequence[LabelColumn] = (), shown: Mapping[str, Collection[str]] = NOTHING
) -> list[Unit]:
    """Return the images by patient, with the classes in these columns, or those that an image shows, by its key."""
    units: dict[tuple[bool, str], Unit] = {}
    for row in rows:
        # A patient may be called like an image.
        unit = units.setdefault(
            (bool(row.patient), row.patient or row.key), Unit(row.patient or row.key, [], Counter())
        )
        unit.images.append(row)
        unit.classes.update(shown.get(row.key) or _classes(row, columns))
    return list(units.values())


def deal(units: Sequence[Unit], folds: int) -> list[list[Unit]]:
    """Deal units into folds so that each has about the same number of images of each class.

    The classes take turns, the rarest first. The units of a class, those with most of its images first, go to the fold
    that has the fewest of them; then to the fold with the fewest images. (Iterative stratification as in Sechidis et
    al. 2011, "On the stratification of multi-label data".)
    """
    dealt: list[list[Unit]] = [[] for _ in range(folds)]
    images, left = [0] * folds, list(units)
    of_class: defaultdict[str, list[int]] = defaultdict(lambda: [0] * folds)
    for label in rarest_first(units):
        members = sorted((unit for unit in left if unit.classes[label]), key=lambda u: (-u.classes[label], u.digest))
        left = [unit for unit in left if not unit.classes[label]]
        for unit in members:
            fold = min(zip(of_class[label], images, range(folds), strict=True))[2]
            dealt[fold].append(unit)
            images[fold] += len(unit.images)
            for each, count in unit.classes.items():
                of_class[each][fold] += count
    return dealt


def rarest_first(units: Sequence[Unit]) -> list[str]:
    """Return the classes of some units, those with the fewest units first."""
    counts = Counter(label for unit in units for label in unit.classes)
    return sorted(counts, key=lambda label: (counts[label], label))


def to_assign(listing: Listing) -> tuple[list[ListedImage], list[ListedImage]]:
    """Return the images without a split that are dealt, and those that have no labels: these train, and validate
    nothing.
    """
    free = [row for row in listing.rows if not row.split]
    unlabelled = [row for row in free if listing.in_files and row.label_file is None]
    names = {row.key for row in unlabelled}
    return [row for row in free if row.key not in names], unlabelled


def check_dealing(path: Path, listing: Listing, folds: int, option: str = "--folds") -> None:
    """Refuse folds beside splits of the data set, and more folds than there are patients or images.

    Args:
        path: The data set, for messages.
        listing: Its images.
        folds: Number of folds.
        option: The option that asks for them.

    Raises:
        DataError: The images cannot be dealt.
    """
    if (named := next((row for row in listing.rows if row.split in ("train", "val")), None)) is not None:
        raise DataError(
            f"{named.where(path)}: names the split of {named.key} ({named.split}), and {option} {folds} makes splits "
            "of its own; leave one of them out (images of the split test may stay)"
        )
    units = units_of(to_assign(listing)[0])
    if len(units) < folds:
        raise DataError(
            f"{path}: has {_number(len(units), _noun(units))} for {folds} folds; {_fewer_folds(len(units))}"
        )


def check_fold_column(path: Path, rows: Iterable[ListedImage]) -> None:
    """Refuse a column `fold` that not every fold can be taken from: each validates in its turn.

    Raises:
        DataError: An image has a split beside its fold, or neither.
    """
    for row in rows:
        if row.split == "test":
            continue
        if row.fold and row.split:
            raise DataError(
                f"{row.where(path)}: {row.key} has split {row.split} and fold {row.fold}, and every fold validates "
                "in its turn; leave the column split out, or use it for test alone"
            )
        if not row.fold and row.split != "train":
            raise empty_fold(path, row)


def empty_fold(path: Path, row: ListedImage) -> DataError:
    """Return the error of an image without a fold, where others have one."""
    return DataError(
        f"{row.where(path)}: the fold of {row.key} is empty; fill it in, or give it the split train or test"
    )


def check_classes(path: Path, units: Sequence[Unit], folds: int, single: bool) -> None:
    """Refuse more folds than a class has units.

    Args:
        path: The data set, for messages.
        units: Its images.
        folds: Number of folds.
        single: Whether an image has one class.

    Raises:
        DataError: A fold would lack a class.
    """
    noun = _noun(units)
    counts = Counter(label for unit in units for label in unit.classes)
    rare = min(counts, key=lambda label: (counts[label], label), default="")
    if single and counts[rare] < folds:
        count, fewer = _number(counts[rare], noun), _fewer_folds(counts[rare])
        raise DataError(f"{path}: class {rare!r} has {count} for {folds} folds, so a fold has none; {fewer}")


def _noun(units: Sequence[Unit]) -> str:
    return "patients" if any(unit.images[0].patient for unit in units) else "images"


def _number(number: int, noun: str) -> str:
    return f"one {noun[:-1]}" if number == 1 else f"{number} {noun}"


def _fewer_folds(most: int) -> str:
    return "add some" if most < 2 else f"give {most} folds or less" if most > 2 else "give 2 folds"


def _classes(row: ListedImage, columns: Sequence[LabelColumn]) -> list[str]:
    named = zip(columns, row.labels, strict=False)
    return [label for column, cell in named for label in column.labels(cell) or ([cell] if cell else [])] or [""]
