"""Turns the probabilities of a classifier into labels, target by target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.class_names import number_of_name
from fitcli.errors import FitError
from fitcli.runs.targets import Target


def find_target(targets: Sequence[Target], name: str | None) -> int:
    """Return the number of the target with a name, for heat maps; 0 for None.

    Raises:
        FitError: No target has this name.
    """
    names = [target.name for target in targets]
    if name is None:
        return 0
    if (number := number_of_name(name, names)) is None:
        raise FitError(f"--heatmap-target {name}: the run knows {', '.join(names)}; give one of these, or leave it out")
    return number


def top_classes(classes: Sequence[str], probabilities: NDArray[np.float64], top_k: int) -> list[tuple[str, float]]:
    """Return the `top_k` most probable classes with their probabilities, the most probable first."""
    order = (-probabilities).argsort(kind="stable")[:top_k]
    return [(classes[number], float(probabilities[number])) for number in order]


def predicted_labels(target: Target, probabilities: NDArray[np.float64]) -> list[str]:
    """Return the most probable class; for a multi-label target, all classes with a probability above one half."""
    if target.is_single:
        return [top_classes(target.classes, probabilities, 1)[0][0]]
    return [label for label, probability in zip(target.classes, probabilities, strict=True) if probability > 0.5]


def prediction_document(target: Target, probabilities: NDArray[np.float64], top_k: int) -> dict[str, Any]:
    """Return the predictions for one target as JSON data."""
    top = top_classes(target.classes, probabilities, top_k)
    document: dict[str, Any] = {"predictions": [{"label": label, "probability": p} for label, p in top]}
    if not target.is_single:
        document["labels"] = predicted_labels(target, probabilities)
    return document
