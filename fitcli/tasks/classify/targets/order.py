"""`order:NAME`: one of several levels with an order, such as a grade. The loss is that of a continuation-ratio model.

An output per level but the last says how likely the answer is beyond this level, given that it is not below it: the
conditional training of CORN (Shi, Cao and Raschka 2021, arXiv:2111.08851). Its loss is summed over the levels of an
image, so that it is the negative log-likelihood of the level (the continuation ratios of Fienberg 1980). The
probabilities of being beyond a level fall from level to level for any outputs, without the shared weights of CORAL. The
predicted level is the median: the number of levels that the answer is beyond with a probability above one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fitcli.data.column_kinds import Answer, LabelColumn, check_trainable, class_line, empty_column
from fitcli.errors import DataError
from fitcli.files.csv_cells import NUMBER
from fitcli.reports.parts import Part
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.cell_numbers import cell_number
from fitcli.tasks.classify.targets.classes import match_by_name
from fitcli.tasks.classify.targets.continuation import continuation_loss, likelihood_loss, passing
from fitcli.tasks.classify.targets.kind import Numbers, TargetKind, TargetScores, require, without_none
from fitcli.tasks.classify.targets.value_charts import order_parts

LEAST_LEVELS = 2
"""Least number of levels."""


class Order(TargetKind):
    """A level per image; see `TargetKind` for the members. A prediction holds the probability of each level."""

    name = "order"
    words = ("order",)
    states_order = True
    spreads = True

    def read(self, column: LabelColumn, cells: Sequence[str]) -> str:
        (cell,) = map(_level, cells)
        levels = [_level(level) for level in column.order]
        if column.order and (not all(levels) or len(set(levels)) < max(LEAST_LEVELS, len(levels))):
            raise ValueError(f"{column.heading} needs two different levels or more after '=', with '|' between them")
        if cell and levels and cell not in levels:
            raise ValueError(f"{column.heading}: {cell!r} is none of its levels; correct it, or name it in the heading")
        return cell

    def target(self, data: Path, column: LabelColumn, texts: Sequence[str], train: Sequence[str] | None) -> Target:
        levels = tuple(_level(level) for level in column.order) or tuple(sorted({*filter(None, texts)}, key=_place))
        if not levels:
            raise empty_column(data, column)
        if train is not None:
            if not column.order and (strange := next((one for one in levels if not NUMBER.fullmatch(one)), None)):
                raise DataError(
                    f"{data}, column {column.heading}: {strange!r} is no number; state the order of the levels in the "
                    f"heading: {column.heading}=LOWEST|...|HIGHEST"
                )
            check_trainable(f"{data}, column {column.heading}", levels, {levels.index(text) for text in train if text})
        return Target(column.name, self.name, levels, outputs=max(1, len(levels) - 1))

    def answer(self, target: Target, text: str) -> Answer:
        return (target.classes.index(text),) if text in target.classes else ()

    def describe(self, target: Target, train: Sequence[Answer], validation: Sequence[Answer]) -> str:
        both = [[number for answer in answers for number in answer] for answers in (train, validation)]
        line = class_line(f"{target.column}, from lowest to highest", target.classes, *both)
        unknown = [len(answers) - len(known) for answers, known in zip((train, validation), both, strict=True)]
        return line + (f"; not known for {unknown[0]} + {unknown[1]}" if any(unknown) else "")

    def check(self, target: Target) -> None:
        levels = max(LEAST_LEVELS, len(target.classes))
        require(target, classes=levels, outputs=levels - 1, scale=0)

    def width(self, target: Target) -> int:
        return 2

    def row(self, target: Target, answer: Answer) -> Sequence[float]:
        """Return the number of levels below the answer, and whether there are levels above it."""
        return [answer[0], float(answer[0] < target.outputs)]

    def loss(self, target: Target, outputs: Tensor, rows: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        # A greater output means a higher level, so it is the logit of going on.
        return continuation_loss(-outputs, rows)

    def match(self, data: Path, own: Target, target: Target, answer: Answer) -> Answer:
        return match_by_name(data, own, target, answer)

    def predict(self, target: Target, outputs: Tensor) -> Numbers:
        beyond = np.concatenate([[1.0], passing(-outputs), [0.0]])
        return np.asarray(beyond[:-1] - beyond[1:])

    def names(self, target: Target) -> Sequence[str]:
        return target.classes

    def text(self, target: Target, prediction: Numbers) -> str:
        return target.classes[int(_predicted(prediction[None])[0])]

    def document(self, target: Target, prediction: Numbers, top_k: int) -> dict[str, Any]:
        levels = zip(target.classes, prediction.tolist(), strict=True)
        return {
            "level": self.text(target, prediction),
            "levels": [{"level": level, "probability": probability} for level, probability in levels],
        }

    def cells(self, target: Target, answer: Answer) -> Sequence[str]:
        return ["".join(target.classes[int(number)] for number in answer)]

    def validate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> TargetScores:
        scores = self.evaluate(target, predictions, answers)
        return TargetScores(
            scores.pop("loss"), without_none({name: scores[name] for name in ("kappa", "mae", "exact")})
        )

    def evaluate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> dict[str, Any]:
        """Return kappa with quadratic weights, mean absolute error in ranks, share of exact levels, loss and confusion.

        Kappa (Cohen 1968, doi:10.1037/h0026256) is None if all answers and predictions are the same level.
        """
        given, predicted = np.array([int(answer[0]) for answer in answers]), _predicted(predictions)
        levels = len(target.classes)
        confusion = np.bincount(given * levels + predicted, minlength=levels**2).reshape(levels, levels)
        rows = np.array([self.row(target, answer) for answer in answers])
        return {
            "kappa": quadratic_kappa(confusion),
            "mae": float(np.abs(given - predicted).mean()),
            "exact": float((given == predicted).mean()),
            "loss": likelihood_loss(_beyond(predictions), rows),
            "confusion": confusion.tolist(),
        }

    def report(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> list[Part]:
        return order_parts(target, _predicted(predictions), np.array([int(answer[0]) for answer in answers]))


def quadratic_kappa(confusion: NDArray[np.int64]) -> float | None:
    """Return Cohen's kappa with quadratic weights of counts by answer (row) and prediction (column)."""
    numbers = np.arange(len(confusion))
    weights = (numbers[:, None] - numbers) ** 2.0
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    disagreement = (weights * expected).sum()
    return float(1 - (weights * confusion).sum() / disagreement) if disagreement > 0 else None


def _beyond(predictions: Numbers) -> Numbers:
    """Return the probability of being beyond each level but the last, from those of the levels [i k]."""
    return np.asarray(predictions[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])


def _predicted(predictions: Numbers) -> NDArray[np.int64]:
    """Return the number of the median level of each image, from the probabilities of the levels [i k]."""
    return np.asarray((_beyond(predictions) > 0.5).sum(axis=1))


def _level(cell: str) -> str:
    """Return a level as it is named: numbers in one spelling, so that 1 and 1.0 are the same."""
    return f"{cell_number('level', cell):.15g}" if NUMBER.fullmatch(cell) else cell


def _place(level: str) -> tuple[bool, float, str]:
    """Return the key by which levels are sorted: numbers by value, before names."""
    named = NUMBER.fullmatch(level) is None
    return named, 0.0 if named else float(level), level
