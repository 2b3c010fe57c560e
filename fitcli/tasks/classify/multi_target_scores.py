"""Scores of a classifier that is asked several things of every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Sample
from fitcli.runs.targets import SEPARATOR, Target, chance_columns, slices
from fitcli.tasks.classify.labels import said
from fitcli.tasks.classify.scores import classification_scores, multi_label_scores
from fitcli.tasks.evaluation_result import Evaluation, Split

TargetProbabilities = Sequence[tuple[Sample, tuple[NDArray[np.float64], ...]]]
"""Images with the probabilities of the classes of each task."""


def evaluate_tasks(tasks: Sequence[Target], split: Split, found: TargetProbabilities, asked: int) -> Evaluation:
    """Score every task by itself; the accuracy of all is the mean over them.

    Args:
        tasks: In the order of the logits.
        split: That was looked at.
        found: The images that could be read.
        asked: How many there were.
    """
    scores: dict[str, dict[str, Any]] = {}
    for number, (task, part) in enumerate(zip(tasks, slices(tasks), strict=True)):
        chances = np.stack([each[number] for _, each in found])
        held = _held(found, part)
        each = (
            classification_scores(chances, held.argmax(axis=1)) if task.is_single else multi_label_scores(chances, held)
        )
        scores[task.name] = {"kind": task.kind, **each, "classes": list(task.classes)}
    answers = [heading for task in tasks for heading in (task.column, f"predicted:{task.name}")]
    return Evaluation(
        task="classify",
        split=split,
        images=len(found),
        failed=asked - len(found),
        scores={"accuracy": float(np.mean([each["accuracy"] for each in scores.values()])), "tasks": scores},
        columns=("path", *answers, *chance_columns(tasks)),
        rows=[_row(tasks, sample, chances) for sample, chances in found],
    )


def _held(found: TargetProbabilities, part: slice) -> NDArray[np.bool_]:
    """[i k], whether each class of a task holds."""
    return np.array([[number in sample.targets for number in range(part.start, part.stop)] for sample, _ in found])


def _row(tasks: Sequence[Target], sample: Sample, chances: tuple[NDArray[np.float64], ...]) -> tuple[object, ...]:
    cells: list[str] = []
    for task, part, each in zip(tasks, slices(tasks), chances, strict=True):
        labels = [label for number, label in enumerate(task.classes) if part.start + number in sample.targets]
        cells += [SEPARATOR.join(labels), SEPARATOR.join(said(task, each))]
    return (sample.path, *cells, *(f"{chance:.6f}" for each in chances for chance in each))
