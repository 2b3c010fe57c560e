"""Charts of numbers, levels and times hold the answers."""

from __future__ import annotations

import numpy as np

from fitcli.reports.parts import Chart, CountMatrix
from fitcli.runs.targets import Target
from fitcli.tasks.classify.curves import kaplan_meier
from fitcli.tasks.classify.targets.value_charts import order_parts, survival_parts, value_parts


def test_values() -> None:
    predicted, given = np.array([1.0, 3.0, 2.0]), np.array([1.5, 2.5, 2.0])
    scatter, residuals = value_parts(Target("age", "value", (), outputs=1, scale=(0, 1)), predicted, given)
    assert isinstance(scatter, Chart)
    assert isinstance(residuals, Chart)
    assert (list(scatter.series[0].x), list(scatter.series[0].y)) == (given.tolist(), predicted.tolist())
    assert list(residuals.series[0].y) == [-0.5, 0.5, 0.0]


def test_levels() -> None:
    target = Target("grade", "order", ("low", "mid", "high"), outputs=2)
    matrix, chart = order_parts(target, np.array([0, 2, 1, 1]), np.array([0, 0, 1, 2]))
    assert isinstance(matrix, CountMatrix)
    assert isinstance(chart, Chart)
    assert matrix.counts == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
    assert dict(zip(chart.series[0].x, chart.series[0].y, strict=True)) == {-2: 0, -1: 1, 0: 2, 1: 0, 2: 1}


def test_survival_by_thirds_of_the_risks() -> None:
    rng = np.random.default_rng(0)
    risks, times, events = rng.random(30), rng.random(30), rng.random(30) < 0.5
    survival, scatter = survival_parts(risks, times, events)
    assert isinstance(survival, Chart)
    assert isinstance(scatter, Chart)
    highest = np.argsort(risks)[20:]
    curve = kaplan_meier(times[highest], events[highest])
    assert list(survival.series[2].y) == curve.y.tolist()
    assert "10 images" in survival.series[2].name
    assert sum(len(series.x) for series in scatter.series) == 30
    assert len(survival_parts(risks[:2], times[:2], events[:2])[0].series) == 2  # type: ignore[union-attr]
