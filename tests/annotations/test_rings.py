"""Edges become rings."""

from __future__ import annotations

import numpy as np

from fitcli.annotations.open_parts import EndedParts
from fitcli.annotations.rings import next_edges, ring_order, trace_parts

# A part of three by three cells without its middle: sides 0, 2, ... are upper borders of lines 0, 1, ...
FRAME = np.array([[0, 0, 3], [3, 1, 2], [4, 1, 2], [7, 0, 3]], np.int32)


def test_a_frame_has_two_rings() -> None:
    order, starts = ring_order(next_edges(FRAME, np.zeros(4, np.int64)))
    assert order.tolist() == [0, 3, 1, 2]
    assert starts.tolist() == [0, 2]


def test_where_two_cells_touch_at_a_corner_the_rings_change_cells() -> None:
    """The point (1, 1) is there twice. Its upper border follows the side above, so that no ring turns back to its cell.

    Cells (0, 0) and (1, 1) are given as one part, as if they were connected elsewhere.
    """
    edges = np.array([[0, 0, 1], [2, 1, 2], [3, 0, 1], [5, 1, 2]], np.int32)
    assert next_edges(edges, np.zeros(4, np.int64)).tolist() == [1, 3, 0, 2]
    # As two parts, they have a ring each.
    edges = np.array([[0, 0, 1], [3, 0, 1], [2, 1, 2], [5, 1, 2]], np.int32)
    assert next_edges(edges, np.array([0, 0, 1, 1])).tolist() == [1, 0, 3, 2]


def test_edges_may_come_in_any_order() -> None:
    shuffled = np.array([3, 1, 0, 2])
    parts = EndedParts(np.array([7], np.uint8), FRAME[shuffled], np.zeros(4, np.int64))
    (polygon,) = trace_parts(parts, lambda columns, lines: np.stack([columns, lines], axis=-1), 0)
    assert polygon.number == 7
    assert polygon.area == 8
    assert [ring.tolist() for ring in polygon.rings] == [
        [[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]],
        [[2, 1], [1, 1], [1, 2], [2, 2], [2, 1]],
    ]
