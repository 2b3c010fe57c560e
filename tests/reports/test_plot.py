"""Axes have round numbers, all values lie between them, and many points are thinned to their extremes."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.reports.parts import Chart, ChartSeries
from fitcli.reports.plot import log_numbers, number_text, place_chart, round_numbers, thinned


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 315, [0, 50, 100, 150, 200, 250, 300]), (-3, 3, [-3, -2, -1, 0, 1, 2, 3])],
)
def test_numbers_are_round(low: float, high: float, expected: list[float]) -> None:
    assert round_numbers(low, high) == expected


def test_any_range_has_a_few_numbers() -> None:
    rng = np.random.default_rng(0)
    for exponent in range(-12, 13):
        low = float(rng.normal()) * 10.0**exponent
        high = low + float(rng.uniform(0.1, 10)) * 10.0**exponent
        numbers = round_numbers(low, high)
        assert 2 <= len(numbers) <= 10, (low, high)
        assert all(low - 1e-9 * abs(low) <= number <= high + 1e-9 * abs(high) for number in numbers)


def test_numbers_of_a_logarithmic_axis() -> None:
    assert log_numbers(0.001, 10) == pytest.approx([0.001, 0.01, 0.1, 1, 10])
    assert log_numbers(2, 40) == pytest.approx([3, 10, 30])


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.0005, "0.0005"), (12000.0, "12k"), (2e7, "2e7"), (3e-6, "3e-6"), (-0.2, "-0.2")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number_text(value) == text


def test_values_lie_within_the_axes_and_others_are_left_out() -> None:
    series = ChartSeries("a", [0, 1, 2, 3, np.nan], [1.0, np.nan, 5.0, np.inf, 2.0])
    plot = place_chart(Chart(title="t", x="x", y="y", series=[series]), 10, 20, 110, 220)
    (placed,) = plot.placed
    np.testing.assert_allclose(placed.points[:, 0], [10, 110])
    # The greater value is nearer to the top.
    assert 20 < placed.points[1, 1] < placed.points[0, 1] < 220


@pytest.mark.parametrize("values", [[], [3.0], [0.0, 0.0], [1e-300, 1e300], [-5.0, -5.0]])
@pytest.mark.parametrize("log", [False, True])
def test_no_values_and_equal_values_have_axes(values: list[float], log: bool) -> None:
    chart = Chart(title="t", x="x", y="y", series=[ChartSeries("", range(len(values)), values)], log_y=log)
    plot = place_chart(chart, 0, 0, 100, 100)
    for placed in plot.placed:
        assert np.isfinite(placed.points).all()
        assert placed.points.min() >= 0
        assert placed.points.max() <= 100
    assert plot.y_ticks


def test_extremes_of_many_points_stay() -> None:
    points = np.stack([np.arange(100_000.0), np.zeros(100_000)], axis=1)
    points[54_321, 1], points[77, 1] = 9, -7
    few = thinned(points)
    assert len(few) <= 600
    assert (few[:, 1].max(), few[:, 1].min()) == (9, -7)
    assert (np.diff(few[:, 0]) > 0).all()
