"""A table: the highest line for sizes, what does not count, and damaged documents."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest

from fitcli.memory.meter import PURPOSES
from fitcli.memory.sizes import Size, actual_sizes
from fitcli.memory.table import Table

LOCAL, GRADIENTS, STORED = (PURPOSES.index(name) for name in ("local layers", "gradients", "stored tokens"))


def table() -> Table:
    """Two lines that cross at 50 groups."""
    lines = np.zeros((2, len(PURPOSES), len(Size)))
    lines[0, LOCAL, Size.GROUPS] = 10
    lines[1, LOCAL, Size.GROUPS], lines[1, GRADIENTS, Size.ONE], lines[1, STORED, Size.GROUPS] = 4, 300, 1
    return Table(lines, {"local, product": np.eye(len(Size))[Size.SQUARED_GROUPS] * 7})


def test_the_highest_line_is_the_peak() -> None:
    for groups, parts in ((40, (0, 400)), (80, (300, 320))):
        peak = table().peak(actual_sizes(1, groups, 1), without={"stored tokens"})
        assert (peak.parts["gradients"], peak.parts["local layers"]) == (0, 800) if groups == 80 else parts
        assert "stored tokens" not in peak.parts
        assert peak.stored_bytes == groups


def test_operations() -> None:
    assert table().operations(actual_sizes(2, 5, 1)) == {"local, product": 7 * 2 * 5 * 5}


def test_a_document_is_the_same_table() -> None:
    document = json.loads(json.dumps(table().to_document()))
    again = Table.from_document(document)
    assert (again.lines == table().lines).all()
    assert again.operations(actual_sizes(3, 4, 2)) == table().operations(actual_sizes(3, 4, 2))


def broken(change: Any) -> dict[str, Any]:
    document = copy.deepcopy(table().to_document())
    change(document)
    return document


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("lines"),
        lambda d: d.update(lines=[]),
        lambda d: d.update(lines=[[[0, 99, 1]]]),
        lambda d: d.update(lines=[[[0, 0, 1e30]]]),
        lambda d: d.update(lines=[[[0, 0, float("nan")]]]),
        lambda d: d.update(flops={"local, product": [1, 2]}),
        lambda d: d.update(flops={"local, product": ["a"] * len(Size)}),
        lambda d: d.update(flops=None),
    ],
)
def test_damaged_documents_are_refused(change: Any) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, IndexError, OverflowError, AttributeError)):
        Table.from_document(broken(change))
