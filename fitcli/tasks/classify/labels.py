"""What a classifier says in words: the classes of an image, task by task, from their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import FitError
from fitcli.runs.targets import Target


def find_target(tasks: Sequence[Target], name: str | None) -> int:
    """Number of the task that heat maps are of: the one of this name, or the first.

    Raises:
        FitError: There is none of this name.
    """
    names = [task.name for task in tasks]
    if name is None:
        return 0
    if name not in names:
        raise FitError(f"--heatmap-task {name}: the run knows {', '.join(names)}; give one of these, or leave it out")
    return names.index(name)


def ranked(classes: Sequence[str], probabilities: NDArray[np.float64], top_k: int) -> list[tuple[str, float]]:
    """The likeliest classes with their probabilities."""
    order = (-probabilities).argsort(kind="stable")[:top_k]
    return [(classes[number], float(probabilities[number])) for number in order]


def predicted_labels(task: Target, probabilities: NDArray[np.float64]) -> list[str]:
    """The likeliest class; where any number holds, those that are likelier than not, in the order of the classes."""
    if task.is_single:
        return [ranked(task.classes, probabilities, 1)[0][0]]
    return [label for label, probability in zip(task.classes, probabilities, strict=True) if probability > 0.5]


def answer(task: Target, probabilities: NDArray[np.float64], top_k: int) -> dict[str, Any]:
    """Of one task, for JSON."""
    predictions = [{"label": label, "probability": p} for label, p in ranked(task.classes, probabilities, top_k)]
    held = {} if task.is_single else {"labels": predicted_labels(task, probabilities)}
    return {"predictions": predictions, **held}
