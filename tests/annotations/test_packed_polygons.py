"""Packed polygons: what is taken out of them is what was put in."""

from __future__ import annotations

import numpy as np
from support.polygons import packed, square

from fitcli.annotations.affine_map import AffineMap
from fitcli.annotations.packed_polygons import concatenated_ranges


def test_polygons_are_taken_in_the_order_of_their_numbers() -> None:
    shapes = [square(0, 0, 1), [*square(5, 5, 9), *square(6, 6, 2)], [[(0, 0), (3, 7), (9, 1)]]]
    taken = packed(shapes).take(np.array([2, 1]))
    expected = packed([shapes[2], shapes[1]])
    assert len(taken) == 2
    assert (taken.points == expected.points).all()
    assert taken.ring_starts.tolist() == expected.ring_starts.tolist()
    assert taken.polygon_starts.tolist() == expected.polygon_starts.tolist()
    assert len(packed(shapes).take(np.array([], np.int64))) == 0


def test_boxes_enclose_the_points() -> None:
    polygons = packed([square(1, 2, 3), [[(0, 0), (-3, 7), (9, 1)]]])
    assert polygons.boxes().tolist() == [[1, 2, 4, 5], [-3, 0, 9, 7]]
    assert polygons.take(np.array([], np.int64)).boxes().shape == (0, 4)
    assert polygons.mapped(AffineMap(a=2, f=1)).boxes()[0].tolist() == [2, 3, 8, 6]


def test_ranges_follow_each_other() -> None:
    assert concatenated_ranges(np.array([3, 7, 0]), np.array([5, 7, 2])).tolist() == [3, 4, 0, 1]
    assert concatenated_ranges(np.array([], np.int64), np.array([], np.int64)).tolist() == []
