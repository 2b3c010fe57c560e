"""Finds the classes of polygons: from their names, or against those that are given."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_results import ADVICE, NAMED, Found
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.polygon_labels import ONLY_KIND, is_unclassified
from fitcli.errors import DataError
from fitcli.files.spelling import composed
from fitcli.files.wording import counted


def table_of_names(counts: Counter[str], rules: LabelRules, file: Path) -> ClassTable:
    """Return the classes of polygons, sorted, with that of what no polygon covers."""
    names = sorted({*counts, *([rules.elsewhere] if rules.elsewhere else [])})
    if len(names) < 2:
        only = f"only the class {names[0]!r}" if names else "no class"
        raise DataError(
            f"{file}: the polygons of the data set have {only}; a model needs two: {ADVICE}, or name the class of what "
            "no polygon covers"
        )
    return ClassTable(tuple(names), tuple(range(len(names))))


def check_unclassified(named: Found[dict[str, int]]) -> None:
    """Raise DataError if the polygons of a file have no class, and those of other files have some."""
    bare = [labels for (_, labels), names in named if is_unclassified(labels)]
    other = next((labels for (_, labels), names in named if names.keys() - {ONLY_KIND}), None)
    if bare and other is not None:
        raise DataError(
            f"{bare[0]}: its polygons have no class, but those of {other} have; give each a class, or one that ends "
            "with * to ignore it"
        )


def check_names(named: Found[dict[str, int]], counts: Counter[str], table: ClassTable, rules: LabelRules) -> None:
    """Raise DataError if polygons or the rules have classes that the table does not have."""
    unknown = [(name, count) for name, count in counts.most_common() if name not in table.names]
    if unknown:
        texts = [f"{name!r} ({counted(count, 'polygon')})" for name, count in unknown[:NAMED]]
        more = ", ..." if len(unknown) > NAMED else ""
        first = next(labels for (_, labels), names in named if unknown[0][0] in map(composed, names))
        raise DataError(
            f"{first}: the polygons of the data set have classes that are not given: {', '.join(texts)}{more}; "
            f"{ADVICE}, or let their names end with * to ignore them"
        )
    if rules.elsewhere and rules.elsewhere not in table.names:
        given = f"{', '.join(table.names[:NAMED])}{', ...' if len(table.names) > NAMED else ''}"
        raise DataError(f"the class {rules.elsewhere!r} of what no polygon covers is none of {given}; {ADVICE}")
