"""Surveys the labels of a data set before training: the classes, their pixels, and what does not go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from fitcli.annotations.class_positions import Positions
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_counts import LabelCounts, count_label_image, count_polygons
from fitcli.annotations.label_results import NAMED, Found, Labelled, try_all
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.label_values import Value
from fitcli.annotations.labels import has_polygons, label_file
from fitcli.annotations.name_classes import check_names, check_unclassified, table_of_names
from fitcli.annotations.polygon_labels import polygon_names
from fitcli.annotations.value_classes import check_values, table_of_values, taken_text, with_own_colors
from fitcli.errors import DataError
from fitcli.files.spelling import composed
from fitcli.files.wording import counted
from fitcli.images.read_as import AS_STORED, ReadAs

PositionsByImage = dict[Path, tuple[Positions, ...]]
"""Positions of each class that an image has, by image."""


class LabelSurvey(NamedTuple):
    """The labels of a data set.

    Attributes:
        table: The classes.
        pixels: Number of pixels of each class in all images, about where an image is large.
        unlabelled: Number of images without a labelled pixel, those without labels included.
        notes: Sentences on what was taken for what.
        warnings: Sentences on what may be wrong.
        positions: Some positions of each class that an image has, by image; empty if not asked for.
    """

    table: ClassTable
    pixels: tuple[int, ...]
    unlabelled: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    positions: PositionsByImage = {}  # noqa: RUF012


def survey_labels(
    samples: Sequence[tuple[Path, Path | None]],
    table: ClassTable | None,
    rules: LabelRules,
    read_as: ReadAs = AS_STORED,
    most_bad: int = 0,
    positions: bool = False,
    held_out: Collection[Path] = (),
) -> LabelSurvey:
    """Check and count the labels of a data set. Labels are all label images or all polygons.

    Args:
        samples: Images, each with its labels or None.
        table: The classes; None to take those of the labels.
        rules: Rules by which labels are read.
        read_as: Part of each image file that is read.
        most_bad: Number of images with unusable labels to pass over.
        positions: Whether to draw positions of the classes.
        held_out: The images that are not trained on.

    Raises:
        DataError: Labels are unreadable or not those of their images; values or names belong to no class; a class has
            no pixel; there are fewer than two classes; or rules of polygons are given with label images.
    """
    labelled = [(image, labels) for image, labels in samples if labels is not None]
    if not labelled:
        raise DataError("no image has labels; give labels of some images")
    notes: list[str] = []
    if has_polygons(label_file(labelled[0][1])):
        table, found = _polygons(labelled, table, rules, read_as, most_bad, positions)
        keys = tuple(range(len(table.names)))
    else:
        _refuse_elsewhere(labelled[0][1], rules)
        found = try_all(lambda sample: count_label_image(*sample, read_as, positions), labelled, most_bad)
        if table is None:
            table = table_of_values(found)
            notes.append(taken_text(table))
        check_values(found, table)
        table, keys = with_own_colors(table, found), table.values
    pixels = tuple(sum(counts.pixels.get(key, 0) for _, counts in found) for key in keys)
    warnings = [*_check_present(table, pixels, found), *_nodata_warnings(table, found)]
    warnings += _held_out_warnings(table, keys, found, held_out)
    empty = sum(not any(counts.pixels.get(key) for key in keys) for _, counts in found)
    if empty:
        has = "has" if empty == 1 else "have"
        notes.append(f"{empty} of {counted(len(samples), 'image')} {has} labels without a labelled pixel")
    unlabelled = empty + len(samples) - len(labelled)
    drawn = _by_image(found, keys) if positions else {}
    return LabelSurvey(table, pixels, unlabelled, (*notes, *_notes(found)), tuple(warnings), drawn)


def draw_positions(
    samples: Sequence[tuple[Path, Path | None]], table: ClassTable, rules: LabelRules, read_as: ReadAs, most_bad: int
) -> PositionsByImage:
    """Return the positions that `survey_labels` draws, for known classes. See there.

    Raises:
        DataError: More than `most_bad` labels are unusable.
    """
    labelled = [(image, labels) for image, labels in samples if labels is not None]
    if not labelled:
        return {}
    if has_polygons(label_file(labelled[0][1])):
        keys: tuple[int, ...] = tuple(range(len(table.names)))
        found = try_all(lambda sample: count_polygons(*sample, table, rules, read_as, True), labelled, most_bad)
    else:
        keys = table.values
        found = try_all(lambda sample: count_label_image(*sample, read_as, True), labelled, most_bad)
    return _by_image(found, keys)


def _refuse_elsewhere(labels: Path, rules: LabelRules) -> None:
    """Raise DataError if rules of polygons are given with label images."""
    if rules.elsewhere is not None:
        raise DataError(
            f"{labels}: --elsewhere is the class of what no polygon covers, but the labels are label images; leave it "
            "out, and name the values of their pixels with --classes"
        )


def _by_image(found: Found[LabelCounts], keys: Sequence[int]) -> PositionsByImage:
    """Return the positions of images, by class in the order of `keys`, without classes that an image does not have."""
    return {
        image: tuple(counts.positions[key] for key in keys if key in counts.positions) for (image, _), counts in found
    }


def _polygons(
    samples: Sequence[Labelled],
    table: ClassTable | None,
    rules: LabelRules,
    read_as: ReadAs,
    most_bad: int,
    positions: bool,
) -> tuple[ClassTable, Found[LabelCounts]]:
    """Return the classes of polygons and their pixels."""
    named = try_all(lambda sample: polygon_names(sample[1]), samples, most_bad)
    counts: Counter[str] = Counter()
    for _, names in named:
        for name, count in names.items():
            counts[composed(name)] += count
    if table is None:
        check_unclassified(named)
    known = table_of_names(counts, rules, samples[0][1]) if table is None else table
    check_names(named, counts, known, rules)
    usable = [sample for sample, _ in named]
    left = most_bad - (len(samples) - len(usable))
    return known, try_all(lambda sample: count_polygons(*sample, known, rules, read_as, positions), usable, left)


def _check_present(table: ClassTable, pixels: Sequence[int], found: Found[LabelCounts]) -> list[str]:
    """Return a warning of classes without a pixel, if not all pixels were read.

    Raises:
        DataError: A class certainly has no pixel.
    """
    nodata = {counts.nodata for _, counts in found}
    pairs = zip(table.names, table.values, pixels, strict=True)
    absent = [
        f"{name!r} (value {value}{', which is nodata' if value in nodata else ''})"
        for name, value, count in pairs
        if count == 0
    ]
    if not absent:
        return []
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    what = f"{'class' if len(absent) == 1 else 'classes'} {', '.join(absent[:NAMED])}{more}"
    if all(counts.share == 1 for _, counts in found):
        file, them = found[0][0][1], "it" if len(absent) == 1 else "them"
        if not any(pixels):
            raise DataError(
                f"{file}: neither this nor other labels have a labelled pixel; label some, or check --classes"
            )
        more = f" and {counted(len(found) - 1, 'other file')} of labels" if len(found) > 1 else ""
        raise DataError(
            f"{file}{more}: no pixel has the {what}; leave {them} out of the classes, or add images that show {them}"
        )
    return [f"no pixel of the {what} was met, but of large label images only a part was read; check the classes"]


def _held_out_warnings(
    table: ClassTable, keys: Sequence[Value], found: Found[LabelCounts], held_out: Collection[Path]
) -> list[str]:
    """Return a warning of classes that only images have that are not trained on."""
    trained: Counter[Value] = Counter()
    others: Counter[Value] = Counter()
    for (image, _), counts in found:
        (others if image in held_out else trained).update(counts.pixels)
    unseen = [name for name, key in zip(table.names, keys, strict=True) if others[key] and not trained[key]]
    if not unseen:
        return []
    more = f", and {len(unseen) - NAMED} more" if len(unseen) > NAMED else ""
    return [
        f"no training image shows {', '.join(map(repr, unseen[:NAMED]))}{more}, only validation images do: a model "
        "cannot learn what it never sees; move images between the splits"
    ]


def _nodata_warnings(table: ClassTable, found: Found[LabelCounts]) -> Iterable[str]:
    """Yield a warning of each class whose value is the nodata value of label images."""
    for name, value in zip(table.names, table.values, strict=True):
        files = [labels for (_, labels), counts in found if counts.nodata == value]
        if files:
            yield f"{files[0]}: {value} is the nodata value, so its pixels have no label, not the class {name!r}"


def _notes(found: Found[LabelCounts]) -> Iterable[str]:
    factors = Counter(counts.factor for _, counts in found if counts.factor > 1)
    for factor, count in sorted(factors.items()):
        yield f"{counted(count, 'label image is', 'label images are')} smaller than the image by a factor of {factor}"
    parts = [counts.share for _, counts in found if counts.share < 1]
    if parts:
        yield f"of {counted(len(parts), 'large label image')} a part was read, so numbers are about"
    yield from dict.fromkeys(note for _, counts in found for note in counts.notes)
