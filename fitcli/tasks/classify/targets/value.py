"""`value:NAME`: a number per image, such as an age. The loss is the Huber loss of standardised values.

The Huber loss (1964, doi:10.1214/aoms/1177703732) is quadratic up to one standard deviation and linear beyond, so that
few extreme values do not outweigh all others. Mean and deviation are those of the training images; they are kept in
`config.json` as the scale of the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.data.column_kinds import Answer, LabelColumn, empty_column
from fitcli.errors import DataError
from fitcli.reports.parts import Part
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.cell_numbers import cell_number, count_known, number_text, ranks
from fitcli.tasks.classify.targets.kind import Numbers, TargetKind, TargetScores, known_mean, require, without_none
from fitcli.tasks.classify.targets.value_charts import value_parts

DIGITS = 5
"""Digits of a predicted value below the standard deviation of the values."""

LARGEST = 1e300
"""Largest value, so that sums and predictions of values stay finite."""


class Value(TargetKind):
    """A number per image; see `TargetKind` for the members. A prediction is the number in the unit of the data set."""

    name = "value"
    words = ("value",)

    def read(self, column: LabelColumn, cells: Sequence[str]) -> str:
        (cell,) = cells
        if cell:
            cell_number(column.heading, cell)
        return cell

    def target(self, data: Path, column: LabelColumn, texts: Sequence[str], train: Sequence[str] | None) -> Target:
        if not any(texts):
            raise empty_column(data, column)
        scale = () if train is None else _mean_and_deviation(data, column, [float(text) for text in train if text])
        return Target(column.name, self.name, (), outputs=1, scale=scale)

    def answer(self, target: Target, text: str) -> Answer:
        return (float(text),) if text else ()

    def describe(self, target: Target, train: Sequence[Answer], validation: Sequence[Answer]) -> str:
        values = [answer[0] for answer in train if answer]
        low, high, mean, deviation = map(number_text, (min(values), max(values), *target.scale))
        return (
            f"{target.column} (training + validation): {low} to {high}, mean {mean}, deviation {deviation}; "
            f"{count_known(train, validation)}"
        )

    def check(self, target: Target) -> None:
        require(target, classes=0, outputs=1, scale=2)
        if not all(map(math.isfinite, target.scale)) or target.scale[1] <= 0:
            raise ValueError(f"target {target.name!r} has the impossible mean and deviation {target.scale}")

    def width(self, target: Target) -> int:
        return 1

    def row(self, target: Target, answer: Answer) -> Sequence[float]:
        mean, deviation = target.scale
        return [(answer[0] - mean) / deviation]

    def loss(self, target: Target, outputs: Tensor, rows: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        known, expected = ~rows[:, 0].isnan(), rows[:, 0].nan_to_num().to(outputs.dtype)
        return known_mean(F.huber_loss(outputs[:, 0], expected, reduction="none"), known)

    def match(self, data: Path, own: Target, target: Target, answer: Answer) -> Answer:
        return answer

    def predict(self, target: Target, outputs: Tensor) -> Numbers:
        mean, deviation = target.scale
        return np.asarray(mean + deviation * outputs.cpu().numpy())

    def names(self, target: Target) -> Sequence[str]:
        return ()

    def size(self, target: Target) -> int:
        return 1

    def text(self, target: Target, prediction: Numbers) -> str:
        """Return the number with `DIGITS` digits below the standard deviation of the values."""
        decimals = DIGITS - math.floor(math.log10(target.scale[1]))
        return f"{round(float(prediction[0]), decimals):.15g}"

    def document(self, target: Target, prediction: Numbers, top_k: int) -> dict[str, Any]:
        return {"value": float(prediction[0])}

    def cells(self, target: Target, answer: Answer) -> Sequence[str]:
        return [repr(answer[0]) if answer else ""]

    def validate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> TargetScores:
        scores = self.evaluate(target, predictions, answers)
        return TargetScores(scores.pop("loss"), without_none(scores))

    def evaluate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> dict[str, Any]:
        """Return R2, mean absolute error, Spearman's rank correlation, and the Huber loss of standardised values.

        R2 is 1 minus the squared error over that of the mean of these images. It and Spearman's correlation are None if
        all values, or for the latter all predictions, are equal.
        """
        given, predicted = np.array([answer[0] for answer in answers]), predictions[:, 0]
        mean, deviation = target.scale
        standard, expected = (torch.tensor((values - mean) / deviation) for values in (predicted, given))
        # In deviations, so that the square of a large value does not overflow.
        errors, spread = (predicted - given) / deviation, (given - given.mean()) / deviation
        return {
            "r2": float(1 - (errors**2).sum() / (spread**2).sum()) if np.ptp(given) > 0 else None,
            "mae": float(np.abs(errors).mean() * deviation),
            "spearman": _correlation(ranks(predicted), ranks(given)),
            "loss": float(F.huber_loss(standard, expected)),
        }

    def report(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> list[Part]:
        return value_parts(target, predictions[:, 0], np.array([answer[0] for answer in answers]))


def _mean_and_deviation(data: Path, column: LabelColumn, values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation of the values of the training images."""
    where = f"{data}, column {column.heading}"
    if len(set(values)) < 2:
        actual = f"all are {number_text(values[0])}" if values else "none is known"
        raise DataError(f"{where}: a model needs different values of the training images, {actual}; leave it out")
    largest = max(map(abs, values))
    parts = np.array(values) / largest
    mean, deviation = float(parts.mean()) * largest, float(parts.std()) * largest
    if deviation == 0 or largest > LARGEST:
        raise DataError(f"{where}: the values of the training images are too large or too close; write another unit")
    return mean, deviation


def _correlation(x: Numbers, y: Numbers) -> float | None:
    """Return Pearson's correlation; None if one of the two is constant."""
    x, y = x - x.mean(), y - y.mean()
    norm = math.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / norm) if norm > 0 else None
