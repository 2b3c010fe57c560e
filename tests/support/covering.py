"""Walks a table of combinations: a part that has every value of every axis by default, the rest in the slow tests."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def covering_rows(rows: Sequence[Sequence[Any]]) -> list[int]:
    """Return the positions of some rows that together have every value of every column.

    The values have hashes. Each chosen row is the first with the most values that no row before it has, and, among
    these, with the most pairs of values that no row before it has.
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


def table(*axes: Iterable[Any]) -> list[Any]:
    """Return all combinations of the values of the axes as parameters of a test; those beyond a cover are slow."""
    values = [list(axis) for axis in axes]
    rows = list(itertools.product(*(range(len(axis)) for axis in values)))
    kept = set(covering_rows(rows))
    return [
        pytest.param(
            *(axis[at] for axis, at in zip(values, row, strict=True)), marks=() if number in kept else pytest.mark.slow
        )
        for number, row in enumerate(rows)
    ]


def mark_rest_slow(items: Iterable[pytest.Item]) -> None:
    """Mark the tests of a `covered` function as slow, beyond some that have every value of every parameter."""
    tables = defaultdict[str, list[pytest.Function]](list)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec") and item.get_closest_marker("covered"):
            tables[item.nodeid.split("[")[0]].append(item)
    for tests in tables.values():
        # A value is the same object in all tests, and may have no hash.
        kept = set(covering_rows([[id(value) for value in test.callspec.params.values()] for test in tests]))
        for number, test in enumerate(tests):
            if number not in kept:
                test.add_marker(pytest.mark.slow)
