"""The curves of a training run: loss, scores, learning rate, time and memory by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fitcli.reports.parts import Chart, ChartSeries
from fitcli.training.metrics_history import Floats, MetricsHistory

SMOOTHED = 60
"""Number of values of a smooth curve: each is a mean over as many steps as that leaves."""

MOST_SERIES = 7
"""Most scores of one chart."""

MOST_CHARTS = 6
"""Most charts of scores that are no shares."""

REPORTED = ("epoch", "loss", "learning_rate", "gradient_norm", "images_per_second", "patches_per_second", "data_wait",
            "peak_bytes")  # fmt: skip
"""Numbers of a step that are no scores of the task."""


def curves(history: MetricsHistory, images_per_step: int, classes: Sequence[str] = ()) -> list[Chart]:
    """Return the charts of a run.

    Args:
        history: Its numbers.
        images_per_step: Images of one optimizer step.
        classes: Names of its classes, for scores of one class.
    """
    rates, peaks = history.steps("images_per_second"), history.steps("peak_bytes")
    seconds = np.stack([rates[:, 0], images_per_step / np.maximum(rates[:, 1], 1e-12)], axis=1)[rates[:, 1] > 0]
    losses = [*_noisy("training", history.steps("loss"), 0), *_marked("validation", history.validations("loss"), 1)]
    charts = [
        _chart("Loss", "loss", losses),
        *_scores(history, classes),
        _chart("Learning rate", "learning rate", [_line("", history.steps("learning_rate"), 0)]),
        _chart("Time per step", "seconds", _noisy("", seconds, 0), from_zero=True),
        _chart("Peak memory", "GiB", [_line("", peaks / (1, 2**30), 0)], from_zero=True),
        _chart("Waiting for images", "share of the time", _noisy("", history.steps("data_wait"), 0), from_zero=True),
        _chart("Norm of the gradient", "norm before clipping", _noisy("", history.steps("gradient_norm"), 0), log=True),
    ]
    last = float(max((values[-1, 0] for values in (rates, history.validations("loss")) if len(values)), default=1))
    return [replace(chart, x_range=(0.0, last)) for chart in charts]


def main_curves(charts: Sequence[Chart]) -> list[Chart]:
    """Return the charts of the static picture: those of the loss, the scores, the learning rate and the time."""
    last = next(number for number, chart in enumerate(charts) if chart.title == "Learning rate")
    return [charts[0], *charts[1:last][:1], *charts[last : last + 2]]


def _scores(history: MetricsHistory, classes: Sequence[str]) -> list[Chart]:
    """Return the scores that are shares in one chart, and each other one in a chart of its own."""
    values = {name: history.validations(name) for name in history.validation_names if name != "loss"}
    shares = [name for name, own in values.items() if ((own[:, 1] >= 0) & (own[:, 1] <= 1)).all()]
    series = []
    for color, names in enumerate(_alike(shares, values)[:MOST_SERIES]):
        series += _marked(" and ".join(_words(name, classes) for name in names), values[names[0]], color)
        for name in names:
            if name not in REPORTED and len(trained := history.steps(name)):
                series.append(replace(_smooth(f"{_words(name, classes)} in training", trained, color), style="dashed"))
    charts = [_chart("Validation scores", "score", series, from_zero=True)] if shares else []
    others = [name for name in values if name not in shares][:MOST_CHARTS]
    named = [(_words(name, classes), values[name]) for name in others]
    return charts + [_chart(name, name, _marked("", own, 0)) for name, own in named]


def _alike(names: Sequence[str], values: Mapping[str, Floats]) -> list[list[str]]:
    """Return scores in groups of equal values, as accuracy and balanced accuracy of classes of one size.

    A curve of its own would hide the other one.
    """
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            own, other = values[name], values[group[0]]
            if own.shape == other.shape and np.allclose(own, other, rtol=0, atol=1e-9, equal_nan=True):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


def _words(name: str, classes: Sequence[str]) -> str:
    """Return the name of a score as words; `score_2` is that of the class with the number 2."""
    score, _, number = name.rpartition("_")
    if score and number.isdecimal() and int(number) < len(classes):
        return f"{score.replace('_', ' ')} of {classes[int(number)]}"
    return name.replace("_", " ")


def _chart(title: str, y: str, series: list[ChartSeries], from_zero: bool = False, log: bool = False) -> Chart:
    low_high = None
    if from_zero:
        values = [value for each in series for value in each.y if np.isfinite(value)]
        low_high = (0.0, max(1.05 * max(values), 1e-9)) if values else None
    return Chart(title=title, x="step", y=y, series=series, y_range=low_high, log_y=log)


def _line(name: str, values: Floats, color: int) -> ChartSeries:
    return ChartSeries(name, values[:, 0].tolist(), values[:, 1].tolist(), "line", color)


def _marked(name: str, values: Floats, color: int) -> list[ChartSeries]:
    """Return the values of validations: while there are few, each is seen."""
    line = _line(name, values, color)
    return [line, replace(line, name="", style="points")] if len(values) <= SMOOTHED else [line]


def _noisy(name: str, values: Floats, color: int) -> list[ChartSeries]:
    """Return values of steps: their means, and each of them faintly."""
    if len(values) <= SMOOTHED:
        return [_line(name, values, color)]
    return [replace(_line("", values, color), style="faint"), _smooth(name, values, color)]


def _smooth(name: str, values: Floats, color: int) -> ChartSeries:
    """Return means over equal parts of the steps."""
    parts = np.array_split(values, max(1, min(SMOOTHED, len(values))))
    means = np.array([part.mean(axis=0) for part in parts if len(part)])
    return _line(name, means.reshape(-1, 2), color)
