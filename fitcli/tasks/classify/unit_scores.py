"""Scores a classifier by patient: the probabilities of its images are pooled, then scored as those of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.errors import FitError
from fitcli.runs.targets import SEPARATOR, Target
from fitcli.tasks.classify.decisions import POOLINGS, decision_document, pooled, unit_groups
from fitcli.tasks.classify.scores import classification_scores, multi_label_scores
from fitcli.tasks.classify.targets.kinds import kind_of, prediction_slices
from fitcli.tasks.classify.thresholds import Flags, Floats, Thresholds, held_classes
from fitcli.tasks.evaluation_result import ScoreTable, UnitScores


def score_units(
    targets: Sequence[Target],
    several: bool,
    scored: Sequence[tuple[Sample, list[float]]],
    thresholds: Thresholds,
) -> UnitScores:
    """Return the scores of patients by the mean and by the maximum of the probabilities of their images.

    Args:
        targets: The targets. Those that name no classes are left out.
        several: Whether the targets of the samples are an `Answer` each, see `Sample.target`.
        scored: The images, each with the predictions for all targets. Images without a patient count as a patient each.
        thresholds: Thresholds of the run. They were chosen on images, not on patients.

    Raises:
        FitError: No target names classes.
    """
    samples = [sample for sample, _ in scored]
    groups = unit_groups(samples)
    firsts = [samples[group[0]] for group in groups]
    predictions = np.array([row for _, row in scored])
    parts = enumerate(prediction_slices(targets))
    named = [(number, part) for number, part in parts if kind_of(targets[number]).names_classes]
    if not named:
        raise FitError("--per pools probabilities of classes, and the run has none; leave it out")
    targets = [targets[number] for number, _ in named]
    pairs = []
    for target, (number, part) in zip(targets, named, strict=True):
        answers = [sample.target[number] if several else (sample.target,) for sample in samples]
        pairs.append((target, predictions[:, part], held_classes(answers, len(target.classes))))
    values: dict[str, list[tuple[Floats, Flags]]] = {
        how: [pooled(own, held, samples, target, how) for target, own, held in pairs] for how in POOLINGS
    }
    documents: dict[str, dict[str, Any]] = {
        how: {
            target.name: _scores(target, *each, firsts, thresholds) for target, each in zip(targets, own, strict=True)
        }
        for how, own in values.items()
    }
    plain = {how: own if several else own[targets[0].name] for how, own in documents.items()}
    columns = [f"{how}:{target.name}:{label}" if several else f"{how}:{label}"
               for how in POOLINGS for target in targets for label in target.classes]  # fmt: skip
    headings = [h for t in targets for h in ((t.column, f"predicted:{t.name}") if several else ("label", "predicted"))]
    return UnitScores(
        document={"patients": len(groups), **plain},
        table=_table(documents, several),
        columns=("patient", "images", *headings, *columns),
        rows=[_row(targets, values, n, samples, group) for n, group in enumerate(groups)],
    )


def _row(
    targets: Sequence[Target],
    values: Mapping[str, list[tuple[Floats, Flags]]],
    number: int,
    samples: Sequence[Sample],
    group: Sequence[int],
) -> tuple[object, ...]:
    """Return the row of a patient in a CSV file."""
    first = samples[group[0]]
    probabilities = (f"{p:.6f}" for how in POOLINGS for own, _ in values[how] for p in own[number])
    return (first.patient or first.path, len(group), *_labels(targets, values["mean"], number), *probabilities)


def _scores(
    target: Target, probabilities: Floats, held: Flags, firsts: Sequence[Sample], thresholds: Thresholds
) -> dict[str, Any]:
    if target.is_single:
        own = classification_scores(probabilities, held.argmax(axis=1))
    else:
        own = multi_label_scores(probabilities, held)
    return own | decision_document(target, probabilities, held, firsts, thresholds)


def _labels(targets: Sequence[Target], values: Sequence[tuple[Floats, Flags]], number: int) -> list[str]:
    """Return the labels and predictions of a patient, by the mean of its images."""
    cells = []
    for target, (probabilities, held) in zip(targets, values, strict=True):
        labels = [label for label, holds in zip(target.classes, held[number], strict=True) if holds]
        cells += [SEPARATOR.join(labels), kind_of(target).text(target, probabilities[number])]
    return cells


def _table(documents: Mapping[str, Mapping[str, dict[str, Any]]], several: bool) -> ScoreTable:
    rows = []
    for target, own in documents[POOLINGS[0]].items():
        for name, value in own.items():
            if isinstance(value, float):
                cells = (_cell(documents[how][target], name) for how in POOLINGS)
                rows.append((f"{target}: {name}" if several else name.replace("_", " "), *cells))
    return ScoreTable(("by patient", *POOLINGS), rows)


def _cell(scores: Mapping[str, Any], name: str) -> str:
    value, ends = scores[name], scores["intervals"]["scores"].get(name)
    text = f"{value:.4f}" if isinstance(value, float) else "-"
    return text if ends is None else f"{text} ({ends[0]:.4f} to {ends[1]:.4f})"
