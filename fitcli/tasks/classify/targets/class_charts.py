"""Charts and tables of targets whose answers are classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.reports.parts import Chart, ChartSeries, CountMatrix, DataTable, Part
from fitcli.runs.targets import Target
from fitcli.tasks.classify.curves import (
    Reliability,
    average_precision,
    precision_recall,
    reliability,
    roc,
)
from fitcli.tasks.classify.targets.kind import Numbers
from fitcli.tasks.classify.thresholds import area_under_roc

MOST_CURVES = 6
"""Most classes whose curves are drawn: of more, those with the smallest areas under the ROC curve."""

BARS = 10
"""Bins of the chart of confidences."""

DIAGONAL = ChartSeries("", (0, 1), (0, 1), "dashed", 6)

Flags = NDArray[np.bool_]


def class_parts(target: Target, probabilities: Numbers, held: Flags) -> list[Part]:
    """Return what a report shows of a target with classes.

    Args:
        target: The target.
        probabilities: Probabilities of its classes, [i k].
        held: Whether its classes hold, [i k].
    """
    parts: list[Part] = [_class_table(target, probabilities, held)]
    if target.is_single:
        counts = np.zeros((len(target.classes),) * 2, np.int64)
        np.add.at(counts, (held.argmax(axis=1), probabilities.argmax(axis=1)), 1)
        parts.insert(0, CountMatrix("Images by truth (row) and answer (column)", target.classes, counts.tolist()))
        confidence, right = probabilities.max(axis=1), held[np.arange(len(held)), probabilities.argmax(axis=1)]
    else:
        confidence, right = probabilities.ravel(), held.ravel()
    return [*parts, *_curves(target, probabilities, held), *_calibration(confidence, right, target.is_single)]


def _curves(target: Target, probabilities: Numbers, held: Flags) -> list[Part]:
    drawn = _drawn_classes(target, probabilities, held)
    note = "" if len(drawn) == len(target.classes) or len(target.classes) == 2 else (
        f"The {len(drawn)} of {len(target.classes)} classes with the smallest areas."
    )  # fmt: skip
    first, second = [], []
    for color, number in enumerate(drawn):
        own, flags = probabilities[:, number], held[:, number]
        name, area, precision = target.classes[number], area_under_roc(own, flags), average_precision(own, flags)
        if not np.isnan(area):
            first.append(ChartSeries(f"{name}: area {area:.3f}", *_lists(roc(own, flags)), "line", color))
        if precision is not None:
            points = precision_recall(own, flags)
            points = points._replace(x=np.append(0.0, points.x), y=np.append(points.y[:1], points.y))
            second.append(ChartSeries(f"{name}: AP {precision:.3f}", *_lists(points), "line", color))
    unit = (0.0, 1.0)
    return [
        Chart(title="ROC", x="1 - specificity", y="sensitivity", series=[*first, DIAGONAL] if first else [],
              x_range=unit, y_range=unit, text=note),
        Chart(title="Precision and recall", x="recall", y="precision", series=second, x_range=unit, y_range=unit,
              text=note),
    ]  # fmt: skip


def _drawn_classes(target: Target, probabilities: Numbers, held: Flags) -> list[int]:
    """Return the numbers of the classes whose curves are drawn: of two classes the second, whose curve says all."""
    if target.is_single and len(target.classes) == 2:
        return [1]
    areas = {n: area_under_roc(probabilities[:, n], held[:, n]) for n in range(len(target.classes)) if held[:, n].any()}
    worst = sorted(areas, key=lambda number: (np.isnan(areas[number]), areas[number]))[:MOST_CURVES]
    return sorted(worst)


def _calibration(confidence: Numbers, right: Flags, single: bool) -> list[Part]:
    found = reliability(confidence, right)
    what = "the answer" if single else "a class"
    edges = (np.arange(BARS) + 0.5) / BARS
    place = np.clip((confidence * BARS).astype(np.int64), 0, BARS - 1)
    every, wrong = np.bincount(place, minlength=BARS), np.bincount(place[~right], minlength=BARS)
    text = f"Expected calibration error {found.error:.4f}. Below the diagonal, the model is surer than it is right."
    names = ("all answers", "wrong answers") if single else ("all images and classes", "the class does not hold")
    return [
        Chart(title="Calibration", x=f"probability of {what}", y="share that is right", series=_reliability(found),
              x_range=(0.0, 1.0), y_range=(0.0, 1.0), text=text),
        Chart(title="How sure the model is", x=f"probability of {what}", y="images" if single else "images x classes",
              series=[ChartSeries(names[0], edges.tolist(), every.tolist(), "bars", 0),
                      ChartSeries(names[1], edges.tolist(), wrong.tolist(), "bars", 1)], x_range=(0.0, 1.0)),
    ]  # fmt: skip


def _reliability(found: Reliability) -> list[ChartSeries]:
    mean, share = found.mean.tolist(), found.share.tolist()
    return [ChartSeries("", mean, share, "line", 0), ChartSeries("", mean, share, "points", 0), DIAGONAL]


def _class_table(target: Target, probabilities: Numbers, held: Flags) -> DataTable:
    """Return precision, recall, F1 and areas of each class."""
    if target.is_single:
        found = np.zeros_like(held)
        found[np.arange(len(held)), probabilities.argmax(axis=1)] = True
    else:
        found = probabilities > 0.5
    rows = []
    for number, name in enumerate(target.classes):
        true, said, own = held[:, number], found[:, number], probabilities[:, number]
        hits = int((true & said).sum())
        rows.append((
            name, str(int(true.sum())), str(int(said.sum())), _ratio(hits, int(said.sum())),
            _ratio(hits, int(true.sum())), _ratio(2 * hits, int(true.sum() + said.sum())),
            _number(area_under_roc(own, true)), _number(average_precision(own, true)),
        ))  # fmt: skip
    columns = ("class", "images", "found", "precision", "recall", "F1", "AUROC", "AP")
    return DataTable("Each class against the rest", columns, rows)


def _ratio(numerator: int, denominator: int) -> str:
    return f"{numerator / denominator:.4f}" if denominator else "-"


def _number(value: float | None) -> str:
    return "-" if value is None or np.isnan(value) else f"{value:.4f}"


def _lists(curve: tuple[Numbers, Numbers]) -> tuple[list[float], list[float]]:
    return curve[0].tolist(), curve[1].tolist()
