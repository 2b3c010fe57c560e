"""Borders of groups: candidates are those of the heat of the whole image, computed at once."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.detect.borders import exceeded_across

SIDE = 6


@pytest.mark.parametrize("seed", range(10))
def test_peaks_are_those_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    heat = rng.random((2, 3 * SIDE, 2 * SIDE)).astype(np.float32)
    if seed > 6:
        heat = heat.round(1)  # equal neighbours
    peaks, kept = [], []
    for kind, y, x in np.ndindex(heat.shape):
        top, left = y // SIDE * SIDE, x // SIDE * SIDE
        own = heat[kind, max(top, y - 1) : min(top + SIDE, y + 2), max(left, x - 1) : min(left + SIDE, x + 2)]
        peak = heat[kind, y, x] >= own.max()
        if peak or y % SIDE in (0, SIDE - 1) or x % SIDE in (0, SIDE - 1):
            kept.append((kind, y, x))
            peaks.append(peak)
    kinds, cells = np.array(kept)[:, 0], np.array(kept)[:, 1:]
    scores = heat[tuple(np.array(kept).T)]
    shuffled = rng.permutation(len(kept))
    exceeded = np.empty(len(kept), bool)
    exceeded[shuffled] = exceeded_across(cells[shuffled], kinds[shuffled], scores[shuffled], SIDE)
    found = {place for place, peak, lost in zip(kept, peaks, exceeded, strict=True) if peak and not lost}
    for kind, y, x in np.ndindex(heat.shape):
        around = heat[kind, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        greatest = heat[kind, y, x] >= around.max()
        alone = (around == heat[kind, y, x]).sum() == 1
        if not greatest or alone:
            assert ((kind, y, x) in found) == greatest


def test_equal_neighbours_across_a_border_are_found_once() -> None:
    cells = np.array([(2, SIDE - 1), (2, SIDE), (3, SIDE - 1), (3, SIDE)])
    lost = exceeded_across(cells, np.zeros(4, np.int64), np.full(4, 0.5, np.float32), SIDE)
    assert lost.tolist() == [False, True, True, True]
    other = exceeded_across(cells[:2], np.array([0, 1]), np.array([0.5, 0.9], np.float32), SIDE)
    assert not other.any(), "classes do not compare"


def test_nothing() -> None:
    assert len(exceeded_across(np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty(0, np.float32), SIDE)) == 0
