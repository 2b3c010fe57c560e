"""Finds the classes of label images: from the values that they hold, or against those that are given."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

from fitcli.annotations.class_table import IGNORED, LARGEST_VALUE, MOST_CLASSES, ClassTable, Color
from fitcli.annotations.label_counts import LabelCounts
from fitcli.annotations.label_results import ADVICE, NAMED, Found
from fitcli.annotations.label_values import UNKNOWN, Value, ValueLookup, values_text
from fitcli.errors import DataError
from fitcli.files.spelling import composed

MASK_ADVICE = f"if it is a class, give the classes with --classes, as in 0=background,{IGNORED}=tumor"
"""Advice on masks of 0 and 255, for messages."""


def check_values(found: Found[LabelCounts], table: ClassTable) -> None:
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


def table_of_values(found: Found[LabelCounts]) -> ClassTable:
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


def with_own_colors(table: ClassTable, found: Found[LabelCounts]) -> ClassTable:
    """Return a table with the colours that label images give, where it has none."""
    colors: dict[int, Color] = {}
    for _, counts in found:
        colors = counts.colors | colors
    pairs = zip(table.values, table.colors, strict=True)
    return dataclasses.replace(table, colors=tuple(colors.get(value) if own is None else own for value, own in pairs))


def taken_text(table: ClassTable) -> str:
    """Return a note on the classes that were taken from the values of label images."""
    pairs = zip(table.values, table.names, strict=True)
    named = [str(value) if str(value) == name else f"{value} ({name})" for value, name in pairs]
    more = f", and {len(named) - NAMED} more" if len(named) > NAMED else ""
    return (
        f"every value of the label images was taken as a class: {', '.join(named[:NAMED])}{more}; {IGNORED} and nodata "
        "mean no label; --classes names the values"
    )
