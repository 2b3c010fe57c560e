"""Scores the decisions of a classifier by threshold, with intervals, over images or over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.data.dataset import Sample
from fitcli.runs.targets import Target
from fitcli.tasks.bootstrap import bootstrap, unit_names, unit_noun
from fitcli.tasks.classify.thresholds import (
    EVEN,
    Thresholds,
    area_under_roc,
    decided_classes,
    decision_scores,
)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

POOLINGS = ("mean", "max")
"""Ways to pool the probabilities of the images of a patient."""


def decision_document(
    target: Target, probabilities: Floats, held: Flags, samples: Sequence[Sample], thresholds: Thresholds
) -> dict[str, Any]:
    """Return the scores of a target at its thresholds, and intervals of its scores, as JSON data.

    Args:
        target: The target.
        probabilities: Probabilities of its classes, [i k].
        held: Whether its classes hold, [i k].
        samples: The images, for their patients.
        thresholds: The thresholds of the run; a half for a class without one.
    """
    chosen = thresholds.get(target.name, {})
    per_class = {
        target.classes[number]: {
            "threshold": chosen.get(target.classes[number], EVEN),
            "threshold_from": "validation" if target.classes[number] in chosen else "none chosen in training",
            **_at(probabilities[:, number], held[:, number], chosen.get(target.classes[number], EVEN)),
        }
        for number in decided_classes(target)
    }
    document: dict[str, Any] = {}
    if target.is_single and per_class:
        ((positive, values),) = per_class.items()
        document = {"positive": positive, **{name: value for name, value in values.items() if name != "auroc"}}
    elif per_class:
        document = {"per_class": per_class}
    document["intervals"] = bootstrap(
        unit_names(samples),
        lambda weights: _weighted_scores(target, probabilities, held, chosen, weights),
        unit_noun(samples),
    )
    return document


def pooled(
    probabilities: Floats, held: Flags, samples: Sequence[Sample], target: Target, how: str
) -> tuple[Floats, Flags]:
    """Return the probabilities [u k] and classes [u k] of patients, in the order of `unit_groups`.

    Args:
        probabilities: Probabilities of the classes of a target, [i k].
        held: Whether its classes hold, [i k]; a class of any image of a patient holds for the patient.
        samples: The images.
        target: The target.
        how: "mean" of the images; or "max": the greatest probability of any image. With two classes, it is that of the
            second, and the first has the rest; with more, the greatest of each class, divided by their sum.
    """
    groups = unit_groups(samples)
    reduce = np.mean if how == "mean" else np.max
    values = np.stack([reduce(probabilities[group], axis=0) for group in groups])
    if how == "max" and target.is_single:
        if len(target.classes) == 2:
            values[:, 0] = 1 - values[:, 1]
        else:
            values /= values.sum(axis=1, keepdims=True)
    return values, np.stack([held[group].any(axis=0) for group in groups])


def unit_groups(samples: Sequence[Sample]) -> list[list[int]]:
    """Return the numbers of the images of each patient, in the order of the first images."""
    groups: dict[str, list[int]] = {}
    for number, unit in enumerate(unit_names(samples)):
        groups.setdefault(unit, []).append(number)
    return list(groups.values())


def _at(probabilities: Floats, held: Flags, threshold: float) -> dict[str, float | None]:
    sensitivity, specificity = decision_scores(probabilities, held, threshold)
    values = {
        "sensitivity": sensitivity, "specificity": specificity, "auroc": area_under_roc(probabilities, held)
    }  # fmt: skip
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def _weighted_scores(
    target: Target, probabilities: Floats, held: Flags, chosen: Mapping[str, float], weights: Floats
) -> dict[str, float]:
    """Return the scores of a target, each image counted as often as `weights` says."""
    if target.is_single:
        correct = held[np.arange(len(held)), probabilities.argmax(axis=1)]
    else:
        correct = ((probabilities > EVEN) == held).all(axis=1)
    present = [k for k in range(held.shape[1]) if weights[held[:, k]].sum() > 0]
    scores = {"accuracy": float(weights[correct].sum() / weights.sum())}
    if target.is_single:
        recalls = [weights[held[:, k] & correct].sum() / weights[held[:, k]].sum() for k in present]
        scores["balanced_accuracy"] = float(np.mean(recalls)) if recalls else np.nan
    areas = [area_under_roc(probabilities[:, k], held[:, k], weights) for k in present]
    defined = [area for area in areas if not np.isnan(area)]
    scores["auroc"] = float(np.mean(defined)) if defined else np.nan
    for number in decided_classes(target):
        name = target.classes[number]
        pair = decision_scores(probabilities[:, number], held[:, number], chosen.get(name, EVEN), weights)
        suffix = "" if target.is_single else f" {name}"
        scores |= {f"sensitivity{suffix}": pair[0], f"specificity{suffix}": pair[1]}
    return scores
