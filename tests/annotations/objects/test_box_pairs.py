"""Pairs of boxes that overlap are all found, against a comparison of all with all."""

from __future__ import annotations

import numpy as np
import pytest
from support.detect_models import overlap, random_boxes

from fitcli.annotations.objects import box_pairs
from fitcli.annotations.objects.box_pairs import BoxBins, overlaps_of


@pytest.mark.walk(10)
@pytest.mark.parametrize("at_once", [1 << 18, 40])
@pytest.mark.parametrize("share", [1 / 9, 0.5, 0.6, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_all_pairs(seed: int, share: float, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_pairs, "COMPARED_AT_ONCE", at_once)
    rng = np.random.default_rng(seed)
    side = rng.choice([2.0, 8.0, 300.0])
    boxes, others = random_boxes(rng, 60, 5 * side, side), random_boxes(rng, 70, 5 * side, side)
    boxes[:20] = others[:20] + rng.uniform(0, 0.1 * side, (20, 4)).cumsum(axis=1) * 0.1
    numbers, other_numbers = rng.integers(0, 2, 60), rng.integers(0, 2, 70)
    own = BoxBins.of(boxes, numbers, share)
    found = tuple(map(np.concatenate, zip(*own.pairs(BoxBins.of(others, other_numbers, share)), strict=True)))
    expected = {
        (i, j)
        for i in range(60)
        for j in range(70)
        if numbers[i] == other_numbers[j] and overlap(boxes[i], others[j]) >= share
    }
    assert set(zip(found[0].tolist(), found[1].tolist(), strict=True)) == expected
    assert len(found[0]) == len(expected)
    np.testing.assert_allclose(found[2], [overlap(boxes[i], others[j]) for i, j in zip(*found[:2], strict=True)])
    within = own.own_pairs(10**6)
    assert within is not None
    pairs = [tuple(sorted(pair)) for pair in zip(within[0].tolist(), within[1].tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == {
        (i, j) for j in range(60) for i in range(j)
        if numbers[i] == numbers[j] and overlap(boxes[i], boxes[j]) >= share
    }  # fmt: skip


def test_too_many_pairs_are_not_compared() -> None:
    boxes = np.tile([(0.0, 0.0, 5.0, 5.0)], (100, 1))
    bins = BoxBins.of(boxes, np.zeros(100, np.int64), 0.5)
    assert bins.own_pairs(9_000) is None
    assert bins.own_pairs(10**5) is not None


def test_boxes_without_an_area_overlap_nothing() -> None:
    boxes = np.array([(1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0)])
    assert overlaps_of(boxes, boxes).tolist() == [0, 0]
    empty = BoxBins.of(np.empty((0, 4)), np.empty(0, np.int64), 0.5)
    assert empty.own_pairs(10) is not None
