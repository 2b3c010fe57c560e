"""The legend has the colours of the picture, at the numbers that it names."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE, ColorScale
from fitcli.tasks.classify.legend import GROUND, MIDDLE_GREY, NARROWEST, legend, legend_size

SCALES = pytest.mark.parametrize("scale", [EVIDENCE, CONTRIBUTION], ids=["evidence", "contribution"])


@SCALES
@pytest.mark.parametrize("width", [1, 440, 900, 1600])
def test_the_bar_runs_from_the_lowest_colour_to_the_highest(width: int, scale: ColorScale) -> None:
    drawn = legend(width, "Evidence", scale)
    assert drawn.shape == (*legend_size(width), 3)
    assert drawn.shape[1] == max(width, NARROWEST)
    ends = scale.blend(np.full((1, 2, 1), MIDDLE_GREY, np.float32), np.array([scale.range], np.float32))
    rows = [
        row for row in drawn.astype(float)
        if all((np.abs(row - end).max(-1) < 2).any() for end in ends[0])
    ]  # fmt: skip
    assert len(rows) > 10
    places = [int(np.nonzero(np.abs(rows[0] - end).max(-1) < 2)[0][0]) for end in ends[0]]
    assert places[0] < 30
    assert places[1] > drawn.shape[1] / 2


@SCALES
def test_titles_and_numbers_are_written(scale: ColorScale) -> None:
    plain, other = legend(800, "", scale), legend(800, "Contribution to tumor", scale)
    line = legend_size(800)[0] // 5
    assert (plain[:line] == GROUND).all()
    assert (other[:line] != GROUND).any()
    np.testing.assert_array_equal(plain[2 * line :], other[2 * line :])
    assert (plain[-2 * line :] != GROUND).any(), "numbers"


def test_long_titles_end_within_the_picture() -> None:
    drawn = legend(500, "x" * 10_000, EVIDENCE)
    assert (drawn[:, -5:] == GROUND).all()
