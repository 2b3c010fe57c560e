"""`label:NAME`: every image is of exactly one class. The loss is the cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitcli.data.column_kinds import Answer, SingleLabelColumn
from fitcli.reports.parts import Part
from fitcli.runs.targets import Target
from fitcli.tasks.classify.labels import top_classes
from fitcli.tasks.classify.losses import mean_cross_entropy
from fitcli.tasks.classify.scores import classification_scores
from fitcli.tasks.classify.targets.class_charts import class_parts
from fitcli.tasks.classify.targets.classes import match_by_name, require_classes
from fitcli.tasks.classify.targets.kind import Numbers, TargetKind, TargetScores


class SingleLabel(SingleLabelColumn, TargetKind):
    """One class per image; see `TargetKind` for the members. A prediction holds the probability of each class."""

    names_classes = True

    def check(self, target: Target) -> None:
        require_classes(target)

    def width(self, target: Target) -> int:
        return 1

    def row(self, target: Target, answer: Answer) -> Sequence[float]:
        return answer

    def loss(self, target: Target, outputs: Tensor, rows: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
        return mean_cross_entropy(outputs, rows[:, 0].long(), weights, smoothing)

    def weights(self, target: Target, rows: Tensor) -> Tensor:
        """Return inverse frequencies, with mean 1 over the images."""
        counts = torch.bincount(rows[:, 0].long(), minlength=target.outputs).float().clamp(min=1)
        return (len(rows) / target.outputs) / counts

    def correct(self, target: Target, outputs: Tensor, rows: Tensor) -> Tensor:
        return outputs.argmax(dim=1) == rows[:, 0].long()

    def match(self, data: Path, own: Target, target: Target, answer: Answer) -> Answer:
        return match_by_name(data, own, target, answer)

    def predict(self, target: Target, outputs: Tensor) -> Numbers:
        return np.asarray(outputs.softmax(dim=-1).cpu().numpy())

    def names(self, target: Target) -> Sequence[str]:
        return target.classes

    def text(self, target: Target, prediction: Numbers) -> str:
        return top_classes(target.classes, prediction, 1)[0][0]

    def document(self, target: Target, prediction: Numbers, top_k: int) -> dict[str, Any]:
        top = top_classes(target.classes, prediction, top_k)
        return {"predictions": [{"label": label, "probability": p} for label, p in top]}

    def cells(self, target: Target, answer: Answer) -> Sequence[str]:
        return ["".join(target.classes[int(number)] for number in answer)]

    def validate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> TargetScores:
        labels = np.array([int(answer[0]) for answer in answers])
        correct = predictions.argmax(axis=1) == labels
        loss = -np.log(np.maximum(predictions[np.arange(len(labels)), labels], 1e-12)).mean()
        per_class = [correct[labels == label].mean() for label in np.unique(labels)]
        return TargetScores(
            float(loss), {"accuracy": float(correct.mean()), "balanced_accuracy": float(np.mean(per_class))}
        )

    def evaluate(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> dict[str, Any]:
        return classification_scores(predictions, np.array([int(answer[0]) for answer in answers]))

    def report(self, target: Target, predictions: Numbers, answers: Sequence[Answer]) -> list[Part]:
        held = np.zeros(predictions.shape, bool)
        held[np.arange(len(held)), [int(answer[0]) for answer in answers]] = True
        return class_parts(target, predictions, held)
