"""The index of polygons finds the boxes that a look at all of them finds."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.annotations.polygon_index import PolygonIndex


@pytest.mark.parametrize("count", [1, 511, 512, 513, 20_000])
def test_a_query_finds_what_meets_the_rectangle(count: int) -> None:
    random = np.random.default_rng(count)
    corners = random.uniform(-100, 1000, (count, 2))
    boxes = np.concatenate([corners, corners + random.exponential(20, (count, 2))], axis=1)
    boxes[::97, 2:] += 800
    index = PolygonIndex(boxes)
    assert index.bounds() == pytest.approx([*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)])
    for left, top in random.uniform(-200, 1200, (50, 2)):
        right, bottom = left + 64, top + 30
        meets = (boxes[:, :2] <= (right, bottom)).all(axis=1) & (boxes[:, 2:] >= (left, top)).all(axis=1)
        assert index.query(left, top, right, bottom).tolist() == np.flatnonzero(meets).tolist()


def test_boxes_may_all_be_the_same() -> None:
    index = PolygonIndex(np.tile([5.0, 5.0, 5.0, 5.0], (2000, 1)))
    assert len(index.query(0, 0, 9, 9)) == 2000
    assert len(index.query(6, 0, 9, 9)) == 0


def test_a_query_looks_at_few_buckets() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 1e5, (100_000, 2))
    index = PolygonIndex(np.concatenate([corners, corners + 10], axis=1))
    around = index._around
    meets = (around[:, 0] <= 50512) & (around[:, 2] >= 50000) & (around[:, 1] <= 50512) & (around[:, 3] >= 50000)
    assert np.count_nonzero(meets) < 8
