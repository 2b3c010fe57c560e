"""`labels:NAME`: any number of classes holds. The loss is the sum of the binary cross-entropies of all classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fitcli.data.column_kinds import Answer, MultiLabelColumn
from fitcli.reports.parts import Part
from fitcli.runs.targets import SEPARATOR, Target
from fitcli.tasks.classify.labels import top_classes
from fitcli.tasks.classify.scores import multi_label_scores
from fitcli.tasks.classify.targets.class_charts import class_parts
from fitcli.tasks.classify.targets.classes import match_by_name, require_classes
from fitcli.tasks.classify.targets.kind import Numbers, TargetKind, TargetScores


class MultiLabel(MultiLabelColumn, TargetKind):
    """Any number of classes; see `TargetKind` for the members. A prediction holds the probability of each class.

    A class is predicted if its probability is above one half. `fit evaluate` reports the mean of the binary
    cross-entropies over the classes, see `multi_label_scores`; training and validation report their sum.
    """

    names_classes = True

    def check(self, target: Target) -> None:
        require_classes(target)

    def width(self, target: Target) -> int:
        return target.outputs

    def row(self, target: Target, answer: Answer) -> Sequence[float]:
        held = set(answer)
        return [float(number in held) for number in range(target.outputs)]

    def loss(self, target: Target, outputs: Tensor, rows: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        smoothed = rows.to(outputs.dtype) * (1 - smoothing) + smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, smoothed, pos_weight=weights) * outputs.shape[1]

    def weights(self, target: Target, rows: Tensor) -> Tensor:
        """Return negatives / positives of each class, the `pos_weight` of the binary cross-entropy."""
        positives = rows.sum(dim=0).clamp(min=1)
        return (len(rows) - positives).clamp(min=1) / positives

    def correct(self, target: Target, outputs: Tensor, rows: Tensor) -> Tensor:
        """Return whether exactly the classes that hold are predicted."""
        return ((outputs > 0) == (rows > 0)).all(dim=1)

    def match(self, data: Path, own: Target, target: Target, answer: Answer) -> Answer:
        return match_by_name(data, own, target, answer)

    def predict(self, target: Target, outputs: Tensor) -> Numbers:
        return np.asarray(outputs.sigmoid().cpu().numpy())

    def names(self, target: Target) -> Sequence[str]:
        return target.classes

    def text(self, target: Target, prediction: Numbers) -> str:
        return SEPARATOR.join(self._predicted(target, prediction))

    def document(self, target: Target, prediction: Numbers, top_k: int) -> dict[str, Any]:
        top = top_classes(target.classes, prediction, top_k)
        predictions = [{"label": label, "probability": p} for label, p in top]
        return {"predictions": predictions, "labels": self._predicted(target, prediction)}

    def cells(self, target: Target, answer: Answer) -> Sequence[str]:
        return [SEPARATOR.join(target.classes[int(number)] for number in answer)]

    def validate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> TargetScores:
        held = self._held(target, answers)
        likelihood = np.maximum(np.where(held, predictions, 1 - predictions), 1e-12)
        correct = (predictions > 0.5) == held
        recalls = [correct[held == value].mean() for value in (False, True) if (held == value).any()]
        return TargetScores(
            float(-np.log(likelihood).sum(axis=1).mean()),
            {"accuracy": float(correct.all(axis=1).mean()), "balanced_accuracy": float(np.mean(recalls))},
        )

    def evaluate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> dict[str, Any]:
        return multi_label_scores(predictions, self._held(target, answers))

    def report(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> list[Part]:
        return class_parts(target, predictions, self._held(target, answers))

    def _held(self, target: Target, answers: Sequence[Answer]) -> NDArray[np.bool_]:
        """Return whether each class holds, [i k]."""
        return np.array([self.row(target, answer) for answer in answers]) > 0

    def _predicted(self, target: Target, prediction: Numbers) -> list[str]:
        return [label for label, probability in zip(target.classes, prediction, strict=True) if probability > 0.5]
