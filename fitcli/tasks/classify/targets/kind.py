"""What a classifier needs to know of each kind of target.

A new kind is one file with a subclass of `TargetKind`, and a line in `kinds.py`. In shapes, b is the number of images,
o the number of outputs of the target, w the width of its rows, and n the length of its predictions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.data.column_kinds import Answer, ColumnKind
from fitcli.reports.parts import Part
from fitcli.runs.targets import Target

Numbers = NDArray[np.float64]


class TargetScores(NamedTuple):
    """Scores of one target on validation images.

    Attributes:
        loss: Mean loss over the images whose answers are known.
        scores: Other scores by name, the most important first; a score that is not defined is left out.
    """

    loss: float
    scores: dict[str, float]


class TargetKind(ColumnKind):
    """A kind of target. See `ColumnKind` for how its cells are read.

    Attributes:
        names_classes: Whether its answers are classes without an order. The mean accuracy of such targets is the
            accuracy of a run; `--balance` and `--label-smoothing` apply to them.
    """

    names_classes: ClassVar[bool] = False

    @abstractmethod
    def check(self, target: Target) -> None:
        """Check a target from `config.json`.

        Raises:
            ValueError: Its numbers of classes, outputs and scale do not go together.
        """

    @abstractmethod
    def width(self, target: Target) -> int:
        """Return the number of values of a row, w."""

    @abstractmethod
    def row(self, target: Target, answer: Answer) -> Sequence[float]:
        """Return an answer as the w values that the loss wants. An answer that is not known has a row of NaN."""

    @abstractmethod
    def loss(self, target: Target, outputs: Tensor, rows: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        """Return the sum of the losses of the images with known answers, divided by the number of all images.

        So the loss of a data set does not depend on how its images are distributed over batches.

        Args:
            target: The target.
            outputs: Outputs of the model [b o].
            rows: Rows of the answers [b w]; NaN where an answer is not known.
            weights: Class weights [o] of `weights`; None for equal weights.
            smoothing: Share of a label that is spread over the classes; for kinds that name classes.
        """

    def weights(self, target: Target, rows: Tensor) -> Tensor:
        """Return the class weights [o] that balance the rows of all training images [i w]; 1 without classes."""
        return torch.ones(target.outputs)

    def correct(self, target: Target, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return whether each prediction is correct, [b] bool; for kinds that name classes."""
        raise NotImplementedError(f"{self.name} has no classes")

    @abstractmethod
    def match(self, data: Path, own: Target, target: Target, answer: Answer) -> Answer:
        """Return an answer of a data set in the numbers of a run.

        Args:
            data: The data set, for messages.
            own: The target of the data set.
            target: The target of the run.
            answer: The answer to `own`.

        Raises:
            DataError: The run does not know the answer.
        """

    @abstractmethod
    def predict(self, target: Target, outputs: Tensor) -> Numbers:
        """Return the prediction for one image [n] from the outputs of the model [o] float64."""

    @abstractmethod
    def names(self, target: Target) -> Sequence[str]:
        """Return what each number of a prediction is the probability of; empty if `text` says all."""

    def size(self, target: Target) -> int:
        """Return the length of a prediction, n."""
        return len(self.names(target))

    @abstractmethod
    def text(self, target: Target, prediction: Numbers) -> str:
        """Return a prediction as one cell of a table."""

    @abstractmethod
    def document(self, target: Target, prediction: Numbers, top_k: int) -> dict[str, Any]:
        """Return a prediction as JSON data, with at most `top_k` classes."""

    def headings(self, target: Target) -> Sequence[str]:
        """Return the headings of the columns of a data set that hold its answers."""
        return [target.column]

    @abstractmethod
    def cells(self, target: Target, answer: Answer) -> Sequence[str]:
        """Return the cells of an answer in these columns."""

    @abstractmethod
    def validate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> TargetScores:
        """Return the scores of validation from predictions [i n] and known answers, one image or more."""

    @abstractmethod
    def evaluate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> dict[str, Any]:
        """Return the scores of `fit evaluate` as JSON data from predictions [i n] and known answers."""

    @abstractmethod
    def report(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> list[Part]:
        """Return charts and tables for a report from predictions [i n] and known answers, one image or more."""


def require(target: Target, *, classes: int, outputs: int, scale: int) -> None:
    """Raise ValueError if a target does not have these numbers of classes, outputs and values of its scale."""
    for name, actual, expected in (
        ("classes", len(target.classes), classes),
        ("outputs", target.outputs, outputs),
        ("values of a scale", len(target.scale), scale),
    ):
        if actual != expected:
            raise ValueError(f"target {target.name!r} of kind {target.kind!r} has {actual} {name}, not {expected}")


def known_mean(losses: Tensor, known: Tensor) -> Tensor:
    """Return the sum of the losses [b] of the images with a known answer, divided by the number of all images."""
    return torch.where(known, losses, torch.zeros_like(losses)).sum() / len(losses)


def without_none(scores: dict[str, float | None]) -> dict[str, float]:
    """Return the scores that are defined."""
    return {name: value for name, value in scores.items() if value is not None}
