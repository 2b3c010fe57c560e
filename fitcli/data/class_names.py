"""Compares the names of classes: one spelling of Unicode for each, and names that are hard to tell apart."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from fitcli.files.spelling import composed as composed


def number_of_name(name: str, names: Sequence[str]) -> int | None:
    """Return the index of a name that a user gives, in either Unicode form; None if it is not there."""
    if name in names:
        return names.index(name)
    return next((number for number, each in enumerate(names) if composed(each) == composed(name)), None)


def confusable_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the sets of names that differ only by case, by spaces or by Unicode form, each sorted."""
    alike: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        alike[_skeleton(name)].add(name)
    return [tuple(sorted(group)) for _, group in sorted(alike.items()) if len(group) > 1]


def _skeleton(name: str) -> str:
    """Return a name without case, spaces, invisible characters and variants of characters, such as wide letters."""
    # Folding the case can undo the normalisation, so it comes in between.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(letter for letter in folded if unicodedata.category(letter) not in ("Zs", "Cc", "Cf"))
