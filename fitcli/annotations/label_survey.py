"""Surveys the labels of a data set before training: the classes, their pixels, and what does not go together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from fitcli.annotations.class_positions import Positions
from fitcli.annotations.class_table import IGNORED, LARGEST_VALUE, MOST_CLASSES, ClassTable, Color
from fitcli.annotations.label_counts import LabelCounts, count_label_image, count_polygons
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.label_values import UNKNOWN, Value, ValueLookup, values_text
from fitcli.annotations.labels import has_polygons, label_file
from fitcli.annotations.polygon_labels import ONLY_KIND, is_unclassified, polygon_names
from fitcli.errors import DataError, ImageError
from fitcli.files.spelling import composed
from fitcli.images.read_as import AS_STORED, ReadAs

T = TypeVar("T")

NAMED = 5
"""Number of items to name."""

ADVICE = "give the classes with --classes, as in 0=background,1=tumor"
"""Advice on classes, for messages."""

MASK_ADVICE = f"if it is a class, give the classes with --classes, as in 0=background,{IGNORED}=tumor"
"""Advice on masks of 0 and 255, for messages."""

Labelled = tuple[Path, Path]
"""An image and its labels."""

PositionsByImage = dict[Path, tuple[Positions, ...]]
"""Positions of each class that an image has, by image."""

Found = list[tuple[Labelled, T]]
"""Results for images with labels."""


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
        found = _try_all(lambda sample: count_label_image(*sample, read_as, positions), labelled, most_bad)
        if table is None:
            table = _table_of_values(found)
            notes.append(_taken(table))
        _check_values(found, table)
        table, keys = _with_colors(table, found), table.values
    pixels = tuple(sum(counts.pixels.get(key, 0) for _, counts in found) for key in keys)
    warnings = [*_check_present(table, pixels, found), *_nodata_warnings(table, found)]
    warnings += _held_out_warnings(table, keys, found, held_out)
    empty = sum(not any(counts.pixels.get(key) for key in keys) for _, counts in found)
    if empty:
        notes.append(f"{empty} of {len(samples)} images have labels without a labelled pixel")
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
        found = _try_all(lambda sample: count_polygons(*sample, table, rules, read_as, True), labelled, most_bad)
    else:
        keys = table.values
        found = _try_all(lambda sample: count_label_image(*sample, read_as, True), labelled, most_bad)
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


def _try_all(do: Callable[[Labelled], T], samples: Sequence[Labelled], most_bad: int) -> Found[T]:
    """Return what a function returns for each usable sample.

    Raises:
        DataError: More than `most_bad` samples are unusable, or all.
    """

    def attempt(sample: Labelled) -> T | ImageError | DataError:
        try:
            return do(sample)
        except (ImageError, DataError) as error:
            return error

    with ThreadPoolExecutor(4, "labels") as pool:
        results = list(zip(samples, pool.map(attempt, samples), strict=True))
    bad = [result for _, result in results if isinstance(result, ImageError | DataError)]
    if len(bad) > min(most_bad, len(results) - 1):
        others = f"{len(bad) - 1} more image{'' if len(bad) == 2 else 's'}"
        more = f" (and {others} whose labels cannot be used)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0]}{more}")
    return [(sample, result) for sample, result in results if not isinstance(result, ImageError | DataError)]


def _check_values(found: Found[LabelCounts], table: ClassTable) -> None:
    """Raise DataError if label images hold values that no class has."""
    lookup = ValueLookup(table)
    unknown: Counter[Value] = Counter()
    files = []
    for (_, labels), counts in found:
        own = {value: count for value, count in counts.pixels.items() if lookup.number(value) == UNKNOWN}
        unknown.update(own)
        files += [labels] if own else []
    if unknown:
        more = f" and {len(files) - 1} more label image{'' if len(files) == 2 else 's'}" if len(files) > 1 else ""
        raise DataError(
            f"{files[0]}{more}: values that no class has: {values_text(unknown.most_common())}; {ADVICE}, or mark them "
            "as nodata"
        )


def _table_of_values(found: Found[LabelCounts]) -> ClassTable:
    """Return the classes of the values that label images hold. The value 255 is none of them.

    Raises:
        DataError: There are too many values, fewer than two, or other values than from 0 to 65535; or label images
            give a value different names.
    """
    pixels: Counter[Value] = Counter()
    for (_, labels), counts in found:
        if len(counts.pixels) > MOST_CLASSES + 1:
            raise DataError(
                f"{labels}: holds {len(counts.pixels):,} different values; this is no image of classes, of which there "
                f"are at most {MOST_CLASSES}"
            )
        for value in counts.pixels:
            if not isinstance(value, int) or not 0 <= value <= LARGEST_VALUE:
                raise DataError(
                    f"{labels}: holds the value {value} ({counts.pixels[value]:,} pixels); classes have whole values "
                    f"from 0 to {LARGEST_VALUE}"
                )
        pixels.update(counts.pixels)
    values = sorted(int(value) for value in pixels if value != IGNORED)
    if len(values) > MOST_CLASSES:
        raise DataError(f"the label images hold {len(values)} different values; {ADVICE}")
    if len(values) < 2:
        only = f"only the value {values[0]}" if values else "no labelled pixel"
        ignored = f", and {IGNORED}, which means no label; {MASK_ADVICE}" if IGNORED in pixels else f"; {ADVICE}"
        raise DataError(f"{found[0][0][1]}: the label images hold {only}{ignored}")
    names = _names(found)
    return ClassTable(tuple(names.get(value, str(value)) for value in values), tuple(values))


def _names(found: Found[LabelCounts]) -> dict[int, str]:
    names: dict[int, tuple[str, Path]] = {}
    for (_, labels), counts in found:
        for value, name in counts.names.items():
            first, where = names.setdefault(value, (composed(name), labels))
            if first != composed(name):
                raise DataError(f"{labels}: calls the value {value} {name!r}, but {where} calls it {first!r}; {ADVICE}")
    return {value: name for value, (name, _) in names.items()}


def _with_colors(table: ClassTable, found: Found[LabelCounts]) -> ClassTable:
    """Return a table with the colours that label images give, where it has none."""
    colors: dict[int, Color] = {}
    for _, counts in found:
        colors = counts.colors | colors
    pairs = zip(table.values, table.colors, strict=True)
    return dataclasses.replace(table, colors=tuple(colors.get(value) if own is None else own for value, own in pairs))


def _taken(table: ClassTable) -> str:
    """Return a note on the classes that were taken from the values of label images."""
    pairs = zip(table.values, table.names, strict=True)
    named = [str(value) if str(value) == name else f"{value} ({name})" for value, name in pairs]
    more = f", and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return (
        f"every value of the label images was taken as a class: {', '.join(named[:NAMED])}{more}; {IGNORED} and nodata "
        "mean no label; --classes names the values"
    )


def _polygons(
    samples: Sequence[Labelled],
    table: ClassTable | None,
    rules: LabelRules,
    read_as: ReadAs,
    most_bad: int,
    positions: bool,
) -> tuple[ClassTable, Found[LabelCounts]]:
    """Return the classes of polygons and their pixels."""
    named = _try_all(lambda sample: polygon_names(sample[1]), samples, most_bad)
    counts: Counter[str] = Counter()
    for _, names in named:
        for name, count in names.items():
            counts[composed(name)] += count
    if table is None:
        _check_unclassified(named)
    known = _table_of_names(counts, rules, samples[0][1]) if table is None else table
    _check_names(named, counts, known, rules)
    usable = [sample for sample, _ in named]
    left = most_bad - (len(samples) - len(usable))
    return known, _try_all(lambda sample: count_polygons(*sample, known, rules, read_as, positions), usable, left)


def _table_of_names(counts: Counter[str], rules: LabelRules, file: Path) -> ClassTable:
    """Return the classes of polygons, sorted, with that of what no polygon covers."""
    names = sorted({*counts, *([rules.elsewhere] if rules.elsewhere else [])})
    if len(names) < 2:
        only = f"only the class {names[0]!r}" if names else "no class"
        raise DataError(
            f"{file}: the polygons of the data set have {only}; a model needs two: {ADVICE}, or name the class of what "
            "no polygon covers"
        )
    return ClassTable(tuple(names), tuple(range(len(names))))


def _check_unclassified(named: Found[dict[str, int]]) -> None:
    """Raise DataError if the polygons of a file have no class, and those of other files have some."""
    bare = [labels for (_, labels), names in named if is_unclassified(labels)]
    other = next((labels for (_, labels), names in named if names.keys() - {ONLY_KIND}), None)
    if bare and other is not None:
        raise DataError(
            f"{bare[0]}: its polygons have no class, but those of {other} have; give each a class, or one that ends "
            "with * to ignore it"
        )


def _check_names(named: Found[dict[str, int]], counts: Counter[str], table: ClassTable, rules: LabelRules) -> None:
    """Raise DataError if polygons or the rules have classes that the table does not have."""
    unknown = [(name, count) for name, count in counts.most_common() if name not in table.names]
    if unknown:
        texts = [f"{name!r} ({count:,} polygon{'' if count == 1 else 's'})" for name, count in unknown[:NAMED]]
        more = ", ..." if len(unknown) > NAMED else ""
        first = next(labels for (_, labels), names in named if unknown[0][0] in map(composed, names))
        raise DataError(
            f"{first}: the polygons of the data set have classes that are not given: {', '.join(texts)}{more}; "
            f"{ADVICE}, or let their names end with * to ignore them"
        )
    if rules.elsewhere and rules.elsewhere not in table.names:
        given = f"{', '.join(table.names[:NAMED])}{', ...' if len(table.names) > NAMED else ''}"
        raise DataError(f"the class {rules.elsewhere!r} of what no polygon covers is none of {given}; {ADVICE}")


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
    what = f"class{'' if len(absent) == 1 else 'es'} {', '.join(absent[:NAMED])}{more}"
    if all(counts.share == 1 for _, counts in found):
        file, them = found[0][0][1], "it" if len(absent) == 1 else "them"
        if not any(pixels):
            raise DataError(
                f"{file}: neither this nor other labels have a labelled pixel; label some, or check --classes"
            )
        more = f" and the {len(found) - 1} other labels" if len(found) > 1 else ""
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
        yield f"{count} label image{' is' if count == 1 else 's are'} smaller than the image by a factor of {factor}"
    parts = [counts.share for _, counts in found if counts.share < 1]
    if parts:
        yield f"of {len(parts)} large label image{'' if len(parts) == 1 else 's'} a part was read, so numbers are about"
    yield from dict.fromkeys(note for _, counts in found for note in counts.notes)
