"""Computes the scores of a classifier with several targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Sample
from fitcli.runs.targets import Target, result_columns
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.classify.decisions import decision_document
from fitcli.tasks.classify.targets.kinds import kind_of, known_answers
from fitcli.tasks.classify.thresholds import Thresholds, held_classes
from fitcli.tasks.evaluation_result import Evaluation, Split

TargetProbabilities = Sequence[tuple[Sample, tuple[NDArray[np.float64], ...]]]
"""Images, each with the predictions for every target, such as the probabilities of its classes."""


def evaluate_targets(
    targets: Sequence[Target],
    split: Split,
    scored: TargetProbabilities,
    failed: int,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Score every target by itself. The overall accuracy is the mean over the targets that name classes.

    Args:
        targets: The targets, in the order of the outputs.
        split: Split of the images.
        scored: The images that could be read.
        failed: Number of images that could not be read.
        thresholds: Thresholds of the run; None for none.
    """
    samples = [sample for sample, _ in scored]
    scores: dict[str, dict[str, Any]] = {}
    for number, target in enumerate(targets):
        answers, kind = [sample.target[number] for sample, _ in scored], kind_of(target)
        predictions, known = known_answers(target, [each[number] for _, each in scored], answers)
        own = kind.evaluate(target, predictions, known) if known else {}
        if known and kind.names_classes:
            held = held_classes(known, len(target.classes))
            own |= decision_document(target, predictions, held, samples, thresholds or {})
        unknown = {"not_known": len(scored) - len(known)} if len(known) < len(scored) else {}
        names = {"classes": list(target.classes)} if target.classes else {}
        scores[target.name] = {"kind": target.kind, **own, **unknown, **names}
    headings = [h for t in targets for h in (*kind_of(t).headings(t), f"predicted:{t.name}")]
    accuracies = [own["accuracy"] for target, own in zip(targets, scores.values(), strict=True) if "accuracy" in own]
    return Evaluation(
        task=ClassifyDetails.task,
        split=split,
        images=len(scored),
        failed=failed,
        scores={**({"accuracy": float(np.mean(accuracies))} if accuracies else {}), "tasks": scores},
        columns=tuple(result_columns(["path", *headings], targets, False, [kind_of(t).names(t) for t in targets])),
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
            for name, ends in own.get("intervals", {"scores": {}})["scores"].items()
        },
    )


def _row(targets: Sequence[Target], sample: Sample, predictions: tuple[NDArray[np.float64], ...]) -> tuple[object, ...]:
    cells: list[str] = []
    probabilities: list[str] = []
    for target, answer, own in zip(targets, sample.target, predictions, strict=True):
        kind = kind_of(target)
        cells += [*kind.cells(target, answer), kind.text(target, own)]
        probabilities += [f"{p:.6f}" for p in own] if kind.names(target) else []
    return (sample.path, *cells, *probabilities)
