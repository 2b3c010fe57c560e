"""Chooses the probability from which on a class is said to hold, on validation images, and scores decisions with it.

A target with two classes has one threshold, for its second class; a multi-label target has one for each class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fitcli.runs.targets import Target

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

Thresholds = Mapping[str, Mapping[str, float]]
"""Threshold by name of the target and of the class."""

EVEN = 0.5
"""Threshold where none was chosen."""


def decided_classes(target: Target) -> tuple[int, ...]:
    """Return the numbers of the classes that have a threshold; () for a target with one of several classes."""
    if target.is_single:
        return (1,) if len(target.classes) == 2 else ()
    return tuple(range(len(target.classes)))


def choose_thresholds(target: Target, probabilities: Floats, held: Flags) -> dict[str, float]:
    """Return the thresholds of a target that are best on some images, by name of the class.

    Args:
        target: The target, which names classes.
        probabilities: Probabilities of its classes, [i k].
        held: Whether its classes hold, [i k].
    """
    best = {n: best_threshold(probabilities[:, n], held[:, n]) for n in decided_classes(target)}
    return {target.classes[number]: value for number, value in best.items() if value is not None}


def held_classes(numbers: Sequence[Sequence[float]], classes: int) -> Flags:
    """Return whether each class holds, [i k], from the numbers of the classes of each image."""
    held = np.zeros((len(numbers), classes), bool)
    for row, own in zip(held, numbers, strict=True):
        row[[int(number) for number in own]] = True
    return held


def best_threshold(probabilities: Floats, held: Flags) -> float | None:
    """Return the threshold with the greatest sensitivity + specificity (Youden 1950; also the best balanced accuracy).

    It lies halfway between two neighbouring probabilities; of several, the one nearest to a half. None if a class is
    missing.
    """
    if held.all() or not held.any():
        return None
    values = np.unique(probabilities)
    candidates = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2])
    order = np.argsort(probabilities, kind="stable")
    first = np.searchsorted(probabilities[order], candidates, side="left")
    hits = held.sum() - np.concatenate([[0], np.cumsum(held[order])])[first]
    false = (~held).sum() - np.concatenate([[0], np.cumsum(~held[order])])[first]
    youden = hits / held.sum() - false / (~held).sum()
    best = candidates[youden >= youden.max() - 1e-12]
    return float(best[np.abs(best - EVEN).argmin()])


def decision_scores(
    probabilities: Floats, held: Flags, threshold: float, weights: Floats | None = None
) -> tuple[float, float]:
    """Return sensitivity and specificity, NaN where no image has or lacks the class.

    Args:
        probabilities: [i].
        held: Whether the class holds, [i].
        threshold: A probability from here on says that it does.
        weights: How often each image counts, [i]; None for once.
    """
    counts = np.ones(len(held)) if weights is None else weights
    found = probabilities >= threshold
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = counts[held & found].sum() / counts[held].sum()
        specificity = counts[~held & ~found].sum() / counts[~held].sum()
    return float(sensitivity), float(specificity)


def area_under_roc(probabilities: Floats, held: Flags, weights: Floats | None = None) -> float:
    """Return the area under the ROC curve, where equal probabilities count half; NaN if a class is missing."""
    counts = np.ones(len(held)) if weights is None else weights
    values, places = np.unique(probabilities, return_inverse=True)
    positive = np.bincount(places, weights=counts * held, minlength=len(values))
    negative = np.bincount(places, weights=counts * ~held, minlength=len(values))
    below = np.cumsum(negative) - negative
    with np.errstate(invalid="ignore", divide="ignore"):
        return float((positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum()))
