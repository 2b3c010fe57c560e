"""Charts of targets whose answers are numbers, levels or times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.reports.parts import Chart, ChartSeries, CountMatrix, Part
from fitcli.runs.targets import Target
from fitcli.tasks.classify.curves import kaplan_meier
from fitcli.tasks.classify.targets.kind import Numbers

THIRDS = ("lowest third of the risks", "middle third", "highest third")
"""Names of the groups of a chart of survival."""


def value_parts(target: Target, predicted: Numbers, given: Numbers) -> list[Part]:
    """Return the predicted against the true values, each [i], and their differences."""
    ends = (float(given.min()), float(given.max()))
    residuals = predicted - given
    return [
        Chart(title="Predicted against true values", x=f"true {target.name}", y=f"predicted {target.name}",
              series=[ChartSeries("", given.tolist(), predicted.tolist(), "points", 0),
                      ChartSeries("equal", ends, ends, "dashed", 6)]),
        Chart(title="Residuals", x=f"true {target.name}", y="predicted minus true",
              series=[ChartSeries("", given.tolist(), residuals.tolist(), "points", 0),
                      ChartSeries("", ends, (0.0, 0.0), "dashed", 6)],
              text=f"Mean {residuals.mean():.4g}, standard deviation {residuals.std():.4g}."),
    ]  # fmt: skip


def order_parts(target: Target, predicted: NDArray[np.int64], given: NDArray[np.int64]) -> list[Part]:
    """Return the images by true and predicted level, each [i], and how far off the answers are."""
    levels = len(target.classes)
    counts = np.bincount(given * levels + predicted, minlength=levels**2).reshape(levels, levels)
    off = predicted - given
    places = np.arange(1 - levels, levels)
    each = np.bincount(off + levels - 1, minlength=2 * levels - 1)
    return [
        CountMatrix("Images by true (row) and predicted level (column)", target.classes, counts.tolist()),
        Chart(title="How many levels too high", x="predicted minus true level", y="images",
              series=[ChartSeries("", places.tolist(), each.tolist(), "bars", 0)], x_range=(-levels, levels)),
    ]  # fmt: skip


def survival_parts(risks: Numbers, times: Numbers, events: NDArray[np.bool_]) -> list[Part]:
    """Return the survival (Kaplan-Meier) of the images by thirds of their predicted risks, each [i]."""
    parts = np.array_split(np.argsort(risks, kind="stable"), min(3, len(risks)))
    names = THIRDS if len(parts) == 3 else [f"group {number + 1} by risk" for number in range(len(parts))]
    series = []
    for color, (name, part) in enumerate(zip(names, parts, strict=True)):
        curve = kaplan_meier(times[part], events[part])
        label = f"{name}: {len(part)} images, {int(events[part].sum())} events"
        series.append(ChartSeries(label, curve.x.tolist(), curve.y.tolist(), "steps", color))
    scatter = [
        ChartSeries(name, times[chosen].tolist(), risks[chosen].tolist(), "points", color)
        for color, (name, chosen) in enumerate((("event", events), ("censored", ~events)))
    ]
    return [
        Chart(title="Survival by predicted risk (Kaplan-Meier)", x="time", y="share without the event", series=series,
              y_range=(0.0, 1.0)),
        Chart(title="Predicted risk against time", x="time of the event, or of the last observation",
              y="predicted risk", series=scatter),
    ]  # fmt: skip
