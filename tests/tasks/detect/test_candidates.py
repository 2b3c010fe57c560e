"""Candidates of groups: peaks inside, all cells at borders, none outside of the image, a bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.detect_models import LAYOUT

from fitcli.tasks.detect import candidates
from fitcli.tasks.detect.candidates import (
    CLASS,
    COLUMN,
    FIRST_SIDE,
    FLOOR,
    IS_PEAK,
    ROW,
    SCORE,
    CandidateFinder,
    most_candidates,
)
from fitcli.tasks.detect.loss import PRIOR_LOGIT

FINDER = CandidateFinder(LAYOUT, classes=2, half_side=1.5)


def values(seed: int = 0, groups: int = 2) -> torch.Tensor:
    drawn = torch.randn(groups, 9, 4, 6, generator=torch.Generator().manual_seed(seed))
    drawn[..., :2] -= PRIOR_LOGIT
    return drawn


def maps(given: torch.Tensor) -> np.ndarray:
    """The heat of groups, [part k side side], laid out cell by cell."""
    heat = (given[..., :2] + PRIOR_LOGIT).sigmoid().numpy()
    out = np.zeros((len(given), 2, 6, 6), np.float32)
    for row in range(6):
        for column in range(6):
            patch, cell = row // 2 * 3 + column // 2, row % 2 * 2 + column % 2
            out[:, :, row, column] = heat[:, patch, cell]
    return out


def test_peaks_and_borders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "most_candidates", lambda side: 100)
    given = values()
    tables = FINDER.find(given, [(0, 0), (0, 1)], LAYOUT.grid((12, 24))).numpy()
    heat = maps(given)
    for group, table in enumerate(tables):
        rows = table[table[:, SCORE] > 0]
        got = {(int(r[CLASS]), int(r[ROW]), int(r[COLUMN])): r for r in rows}
        for kind in range(2):
            for y in range(6):
                for x in range(6):
                    around = heat[group, kind, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
                    is_peak = heat[group, kind, y, x] >= around.max()
                    kept = is_peak or y in (0, 5) or x in (0, 5)
                    assert ((kind, y, x) in got) == (kept and heat[group, kind, y, x] > FLOOR)
                    if (kind, y, x) in got:
                        row = got[kind, y, x]
                        assert row[SCORE] == heat[group, kind, y, x]
                        assert bool(row[IS_PEAK]) == is_peak
                        own = given[group, y // 2 * 3 + x // 2, y % 2 * 2 + x % 2, 2:]
                        np.testing.assert_allclose(row[FIRST_SIDE:], 1.5 * own.exp().numpy(), rtol=1e-5)


def test_no_candidate_lies_outside_of_the_image() -> None:
    """Of 12 x 24 pixels, 7 x 15 belong to the image: cells with their middles in it are 3 or 4 x 7 or 8."""
    table = FINDER.find(values(), [(0, 0), (0, 1)], LAYOUT.grid((7, 15))).numpy()
    rows = table[0][table[0][:, SCORE] > 0]
    assert rows[:, ROW].max() < 3.5
    right = table[1][table[1][:, SCORE] > 0]
    assert right[:, COLUMN].max() <= 1
    tiny = FINDER.find(values(groups=1), [(0, 0)], LAYOUT.grid((1, 1))).numpy()[0]
    assert set(map(tuple, tiny[tiny[:, SCORE] > 0][:, [ROW, COLUMN]].astype(int).tolist())) <= {(0, 0)}


def test_a_handful_changes_nothing() -> None:
    given, grid = values(), LAYOUT.grid((12, 24))
    whole = FINDER.find(given, [(0, 0), (0, 1)], grid)
    for group, place in enumerate([(0, 0), (0, 1)]):
        assert torch.equal(FINDER.find(given[group : group + 1], [place], grid)[0], whole[group])


def test_a_hostile_model_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "most_candidates", lambda side: 7)
    given, grid = values(), LAYOUT.grid((12, 24))
    tables = FINDER.find(given, [(0, 0), (0, 1)], grid).numpy()
    assert tables.shape == (2, 7, FINDER.columns)
    monkeypatch.setattr(candidates, "most_candidates", lambda side: 100)
    whole = FINDER.find(given, [(0, 0), (0, 1)], grid).numpy()
    for mine, all_of_them in zip(tables, whole, strict=True):
        best = np.sort(all_of_them[:, SCORE])[::-1][:7]
        np.testing.assert_array_equal(mine[:, SCORE], best)
    assert most_candidates(32) < 32 * 32


def test_points_have_no_sides() -> None:
    finder = CandidateFinder(LAYOUT, classes=2, half_side=0.0)
    assert finder.find(values()[..., :2], [(0, 0), (0, 1)], LAYOUT.grid((12, 24))).shape[2] == FIRST_SIDE
