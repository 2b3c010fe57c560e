"""Tests that walk a table: a part of their cases runs by default, the others with `-m more`.

`@pytest.mark.walk` keeps some cases that have every value of every parameter; `@pytest.mark.walk(count)` keeps so many
of a list, evenly spaced. A test with the mark `more` alone is the large one of a kind that others prove by default.
"""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import pytest

ELSEWHERE = ("slow", "gpu", "distributed", "browser", "more")
"""Marks of cases that are no part of a walk, since they do not run by default."""


def covering_rows(rows: Sequence[Sequence[Hashable]]) -> list[int]:
    """Return the positions of some rows that together have every value of every column.

    Each chosen row is the first with the most values that no row before it has, and, among these, with the most pairs
    of values that no row before it has.
    """
    pairs = [set(itertools.combinations(enumerate(row), 2)) for row in rows]
    missing = {cell for row in rows for cell in enumerate(row)}
    seen, chosen = set[Any](), list[int]()
    while missing:
        best = max(
            range(len(rows)),
            key=lambda number: (len(missing.intersection(enumerate(rows[number]))), len(pairs[number] - seen), -number),
        )
        chosen.append(best)
        missing.difference_update(enumerate(rows[best]))
        seen |= pairs[best]
    return sorted(chosen)


def spaced_positions(size: int, count: int, name: str) -> list[int]:
    """Return evenly spaced positions in a list; the name of the test decides where they begin.

    So the tests that walk one short list, such as that of the tasks, see all of it together.
    """
    start, count = zlib.crc32(name.encode()), min(count, size)
    return sorted((start + number * size // count) % size for number in range(count))


def kept_cases(cases: Sequence[pytest.Function], count: int | None) -> list[int]:
    """Return the positions of the cases of one test that run by default."""
    if count is not None:
        return spaced_positions(len(cases), count, cases[0].originalname)
    return covering_rows([[_key(value) for value in case.callspec.params.values()] for case in cases])


def mark_more(items: Iterable[pytest.Item]) -> None:
    """Give the mark `more` to the cases of walks that do not run by default."""
    walks = defaultdict[str, list[pytest.Function]](list)
    for item in items:
        inside = isinstance(item, pytest.Function) and hasattr(item, "callspec") and item.get_closest_marker("walk")
        if inside and not any(item.get_closest_marker(name) for name in ELSEWHERE):
            walks[item.nodeid.split("[")[0]].append(item)
    for cases in walks.values():
        mark = cases[0].get_closest_marker("walk")
        kept = set(kept_cases(cases, *(mark.args or (None,))))
        for number, case in enumerate(cases):
            if number not in kept:
                case.add_marker(pytest.mark.more)


def _key(value: object) -> Hashable:
    """Return what tells values of a parameter apart; one that has no hash is the same object in all cases."""
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value
