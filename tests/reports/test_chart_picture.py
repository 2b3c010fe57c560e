"""Charts as a picture: the colours of the series are there, at the places of the values."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.reports.chart_picture import BOTTOM, COLORS, HEIGHT, LEFT, WIDTH, chart_picture, charts_picture
from fitcli.reports.parts import Chart, ChartSeries


def one(style: str) -> Chart:
    series = ChartSeries("", [0, 1, 2], [0.0, 1.0, 0.0], style)  # type: ignore[arg-type]
    return Chart(title="t", x="x", y="y", series=[series], y_range=(0.0, 2.0))


@pytest.mark.parametrize("style", ["line", "dashed", "steps", "points", "bars"])
def test_values_are_where_they_belong(style: str) -> None:
    pixels = chart_picture(one(style)).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - COLORS[0]).sum(axis=2) < 60)
    assert columns.min() < LEFT + 4
    assert HEIGHT - BOTTOM - 4 < rows.max() < HEIGHT - BOTTOM + 4
    middle = (LEFT + WIDTH - 22) / 2
    # The greatest value is half-way up, in the middle.
    assert abs(rows.min() - (60 + HEIGHT - BOTTOM) / 2) < 5
    assert abs(columns[rows == rows.min()].mean() - middle) < (WIDTH / 3 if style == "steps" else 5)


def test_charts_stand_side_by_side() -> None:
    assert charts_picture([one("line")] * 3).shape == (2 * HEIGHT, 2 * WIDTH, 3)
    assert charts_picture([Chart(title="none", x="x", y="y", series=[])]).shape == (HEIGHT, WIDTH, 3)
