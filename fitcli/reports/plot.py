"""Places the values of a chart on a rectangle: ranges, round numbers on the axes, points in pixels.

Charts in HTML and in PNG files draw what this returns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.reports.parts import Chart, ChartSeries

Floats = NDArray[np.float64]

MOST_POINTS = 600
"""Most points of a series that are drawn; of more, the least and the greatest of each part."""

TICKS = 5
"""Number of ticks that an axis has, roughly."""

ROOM = 0.04
"""Empty share of the vertical axis beyond the values."""


class Tick(NamedTuple):
    """A number on an axis.

    Attributes:
        place: Its place in pixels.
        text: The number.
    """

    place: float
    text: str


class Placed(NamedTuple):
    """A series in pixels.

    Attributes:
        series: The series.
        color: Number of its colour.
        points: [n 2], from left to right.
    """

    series: ChartSeries
    color: int
    points: Floats


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart on a rectangle of pixels.

    Attributes:
        left, top, right, bottom: The rectangle between the axes, in pixels.
        x_ticks, y_ticks: Numbers on the axes.
        placed: The series that have values.
        bar: Width of a bar in pixels.
    """

    left: float
    top: float
    right: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    placed: list[Placed]
    bar: float


class _Axis(NamedTuple):
    """An axis from `low` to `high` between two places in pixels."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def place(self, values: Floats) -> Floats:
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        shares = ((np.log(values) if self.log else values) - low) / (high - low)
        places: Floats = self.start + np.clip(shares, 0, 1) * (self.stop - self.start)
        return places

    def ticks(self) -> list[Tick]:
        numbers = log_numbers(self.low, self.high) if self.log else round_numbers(self.low, self.high)
        return [Tick(float(self.place(np.array([n]))[0]), number_text(n)) for n in numbers]


def place_chart(chart: Chart, left: float, top: float, right: float, bottom: float) -> Plot:
    """Place a chart on a rectangle of pixels, whose top has the smallest y."""
    known = [(series, *_finite(series)) for series in chart.series]
    log = chart.log_y and any(len(y) for _, _, y in known) and all((y > 0).all() for _, _, y in known)
    x_low, x_high = chart.x_range or _range([x for _, x, _ in known], 0)
    bars = any(series.style == "bars" for series in chart.series)
    y_low, y_high = chart.y_range or _range([y for _, _, y in known], 0 if log else ROOM, from_zero=bars)
    across, up = _Axis(x_low, x_high, left, right), _Axis(y_low, y_high, bottom, top, log)
    placed = []
    for number, (series, x, y) in enumerate(known):
        if len(x):
            points = np.stack([across.place(x), up.place(y)], axis=1)
            points = points if series.style in ("points", "bars") else thinned(points)
            placed.append(Placed(series, number if series.color is None else series.color, points))
    most = max((len(each.points) for each in placed if each.series.style == "bars"), default=1)
    return Plot(left, top, right, bottom, across.ticks(), up.ticks(), placed, 0.8 * (right - left) / most)


def thinned(points: Floats, most: int = MOST_POINTS) -> Floats:
    """Return at most `most` of the points [n 2]: the least and the greatest of each part, in order."""
    if len(points) <= most:
        return points
    chosen: list[int] = []
    for part in np.array_split(np.arange(len(points)), most // 2):
        own = points[part, 1]
        chosen += sorted({int(part[own.argmin()]), int(part[own.argmax()])})
    return points[chosen]


def round_numbers(low: float, high: float, count: int = TICKS) -> list[float]:
    """Return about `count` numbers in low ... high that are 1, 2 or 5 times a power of ten apart."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.75)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def log_numbers(low: float, high: float) -> list[float]:
    """Return numbers in low ... high for a logarithmic axis: powers of ten, or more where there would be few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5)):
        powers = range(first, last + 1, max(1, (last - first) // TICKS))
        found = [step * 10.0**power for power in powers for step in steps]
        found = [number for number in found if low * 0.999 <= number <= high * 1.001]
        if len(found) >= 3:
            return found
    return found if len(found) > 1 else round_numbers(low, high)


def number_text(value: float) -> str:
    """Return a number of an axis, short."""
    if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
        digits, _, power = f"{value:.3e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def _finite(series: ChartSeries) -> tuple[Floats, Floats]:
    x, y = np.asarray(series.x, np.float64), np.asarray(series.y, np.float64)
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


def _range(values: Sequence[Floats], room: float, from_zero: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that shows all values."""
    every = np.concatenate([np.empty(0), *values])
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    low = min(0.0, low) if from_zero else low
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        half = abs(high) / 2 or 0.5
        low, high = low - half * (not from_zero), high + half
    extra = room * (high - low)
    # Numbers that are never negative have no axis below zero.
    return (low if from_zero else max(low - extra, 0.0) if low >= 0 else low - extra), high + extra
