"""Parts stay open until a row passes that they do not reach into, and join."""

from __future__ import annotations

import numpy as np

from fitcli.annotations.open_parts import EndedParts, OpenParts


def ended(parts: EndedParts) -> list[tuple[int, list[list[int]]]]:
    """The class and the edges of each part that has ended."""
    return sorted(
        (int(parts.classes[part]), sorted(parts.edges[parts.part == part].tolist())) for part in np.unique(parts.part)
    )


def test_two_open_parts_join_to_one() -> None:
    open_parts = OpenParts(3)
    row = np.array([[1, 255, 1]], np.uint8)
    assert ended(open_parts.add(row)) == []
    assert ended(open_parts.add(row)) == []
    assert ended(open_parts.add(np.array([[1, 1, 1]], np.uint8))) == []
    nothing = np.full((1, 3), 255, np.uint8)
    assert ended(open_parts.add(nothing)) == [(1, [[0, 0, 1], [0, 2, 3], [4, 1, 2], [7, 0, 3]])]
    assert ended(open_parts.add(nothing)) == []


def test_parts_end_apart() -> None:
    open_parts = OpenParts(3)
    assert ended(open_parts.add(np.array([[1, 2, 1], [1, 255, 255]], np.uint8))) == [
        (1, [[0, 2, 3], [3, 2, 3]]),
        (2, [[0, 1, 2], [3, 1, 2]]),
    ]
    assert ended(open_parts.add(np.array([[2, 2, 2]], np.uint8))) == [(1, [[0, 0, 1], [5, 0, 1]])]
