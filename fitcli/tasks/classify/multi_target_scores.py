"""Computes the scores of a classifier with several targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Sample
from fitcli.runs.targets import SEPARATOR, Target, result_columns, slices
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.decisions import decision_document
from fitcli.tasks.classify.labels import predicted_labels
from fitcli.tasks.classify.scores import classification_scores, multi_label_scores
from fitcli.tasks.classify.thresholds import Thresholds
from fitcli.tasks.evaluation_result import Evaluation, Split

TargetProbabilities = Sequence[tuple[Sample, tuple[NDArray[np.float64], ...]]]
"""Images, each with the probabilities of the classes of every target."""


def evaluate_targets(
    targets: Sequence[Target],
    split: Split,
    scored: TargetProbabilities,
    failed: int,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Score every target by itself. The overall accuracy is the mean over the targets.

    Args:
        targets: The targets, in the order of the logits.
        split: Split of the images.
        scored: The images that could be read.
        failed: Number of images that could not be read.
        thresholds: Thresholds of the run; None for none.
    """
    samples = [sample for sample, _ in scored]
    scores: dict[str, dict[str, Any]] = {}
    for number, (target, part) in enumerate(zip(targets, slices(targets), strict=True)):
        probabilities, held = np.stack([each[number] for _, each in scored]), _held(scored, part)
        if target.is_single:
            own = classification_scores(probabilities, held.argmax(axis=1))
        else:
            own = multi_label_scores(probabilities, held)
        own |= decision_document(target, probabilities, held, samples, thresholds or {})
        scores[target.name] = {"kind": target.kind, **own, "classes": list(target.classes)}
    headings = [heading for target in targets for heading in (target.column, f"predicted:{target.name}")]
    return Evaluation(
        task=ClassifyDetails.task,
        split=split,
        images=len(scored),
        failed=failed,
        scores={"accuracy": float(np.mean([each["accuracy"] for each in scores.values()])), "tasks": scores},
        columns=tuple(result_columns(["path", *headings], targets, plain=False)),
        rows=[_row(targets, sample, probabilities) for sample, probabilities in scored],
        table_scores={
            f"{target}: {name}": value
            for target, own in scores.items()
            for name, value in own.items()
            if isinstance(value, float)
        },
        intervals={
            f"{target}: {name}": ends
            for target, own in scores.items()
            for name, ends in own["intervals"]["scores"].items()
        },
    )


def _held(scored: TargetProbabilities, part: slice) -> NDArray[np.bool_]:
    """Return whether each class of a target holds, [i k]."""
    return np.array([[number in sample.target for number in range(part.start, part.stop)] for sample, _ in scored])


def _row(
    targets: Sequence[Target], sample: Sample, probabilities: tuple[NDArray[np.float64], ...]
) -> tuple[object, ...]:
    cells: list[str] = []
    for target, part, each in zip(targets, slices(targets), probabilities, strict=True):
        labels = [label for number, label in enumerate(target.classes) if part.start + number in sample.target]
        cells += [SEPARATOR.join(labels), SEPARATOR.join(predicted_labels(target, each))]
    return (sample.path, *cells, *(f"{p:.6f}" for each in probabilities for p in each))
