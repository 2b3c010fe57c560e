"""Parts of tables that run by default: of combinations, some that have every value; of a long list, a sample.

All the rest runs with the slow tests.
"""

from __future__ import annotations

import itertools
import zlib
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


def sampled_positions(size: int, count: int, name: str) -> set[int]:
    """Return evenly spaced positions in a list; the name of the test decides where they begin.

    So the tests of one list, such as that of the tasks, see all of it together.
    """
    start, count = zlib.crc32(name.encode()), min(count, size)
    return {(start + number * size // count) % size for number in range(count)}


def mark_rest_slow(items: Iterable[pytest.Item]) -> None:
    """Mark what does not run by default as slow.

    Of a test with the mark `covered`, combinations run that have every value of every parameter; of one with the mark
    `sampled(count)`, so many.
    """
    tables, samples = defaultdict[str, list[Any]](list), defaultdict[str, list[Any]](list)
    for item in items:
        name = item.nodeid.split("[")[0]
        if hasattr(item, "callspec") and item.get_closest_marker("covered"):
            tables[name].append(item)
        if item.get_closest_marker("sampled") and not item.get_closest_marker("slow"):
            samples[name].append(item)
    for tests in tables.values():
        # A value is the same object in all tests, and may have no hash.
        _keep(tests, covering_rows([[id(value) for value in test.callspec.params.values()] for test in tests]))
    for name, tests in samples.items():
        (count,) = tests[0].get_closest_marker("sampled").args
        _keep(tests, sampled_positions(len(tests), count, name.split("::")[-1]))


def _keep(tests: list[Any], kept: Iterable[int]) -> None:
    for number in set(range(len(tests))) - set(kept):
        tests[number].add_marker(pytest.mark.slow)
