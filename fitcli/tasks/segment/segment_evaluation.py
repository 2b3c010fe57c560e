"""Formats the scores of class maps as JSON data, tables and rows of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fitcli.data.dataset import Sample
from fitcli.tasks.bootstrap import unit_names
from fitcli.tasks.evaluation_result import Evaluation, ScoreTable, Split, UnitScores
from fitcli.tasks.segment.segment_scores import summarize

CLASS_SCORES = ("iou", "dice", "precision", "recall", "boundary_f")
"""Scores in the table of classes."""

UNDEFINED = "-"
"""Cell of a score that is undefined."""


def segmentation_evaluation(
    task: str,
    names: Sequence[str],
    tolerance: int,
    scored: Sequence[tuple[Sample, list[float]]],
    split: Split,
    failed: int,
) -> Evaluation:
    """Return the scores over images.

    Args:
        task: Name of the task.
        names: Names of the classes.
        tolerance: Greatest distance of boundary pixels that count as hits, in pixels.
        scored: The images, each with its counts from `ImageScores.of`.
        split: Split of the images.
        failed: Number of images that could not be read.
    """
    scores = summarize([row for _, row in scored], names)
    dice = {name: scores["dice_per_image"][name] for name in ("median", "low", "high")}
    return Evaluation(
        task=task,
        split=split,
        images=len(scored),
        failed=failed,
        scores={**scores, "boundary_tolerance": tolerance},
        columns=("path", *image_columns(names)),
        rows=[(sample.path, *_image_row(row, names)) for sample, row in scored],
        table_scores={f"dice per image: {name}": value for name, value in dice.items() if value is not None},
        tables=(_class_table(scores),),
    )


def score_units(names: Sequence[str], scored: Sequence[tuple[Sample, list[float]]]) -> UnitScores:
    """Return the scores of patients: the counts of their images are added up, and an interval draws patients.

    Args:
        names: Names of the classes.
        scored: The images, each with its counts from `ImageScores.of`.
    """
    units: dict[str, list[int]] = {}
    for number, name in enumerate(unit_names(sample for sample, _ in scored)):
        units.setdefault(name, []).append(number)
    rows = [np.sum([scored[number][1] for number in numbers], axis=0).tolist() for numbers in units.values()]
    scores = summarize(rows, names)
    dice = scores["dice_per_image"]
    table: list[tuple[str, ...]] = [("patients", str(len(units)))]
    table += [(f"dice per patient: {name}", _text(dice[name])) for name in ("median", "low", "high")]
    firsts = [scored[numbers[0]][0] for numbers in units.values()]
    return UnitScores(
        document={"patients": len(units), "dice_per_patient": dice},
        table=ScoreTable(("by patient", "value"), table),
        columns=("patient", "images", *image_columns(names)),
        rows=[
            (first.patient or first.path, len(numbers), *_image_row(row, names))
            for first, numbers, row in zip(firsts, units.values(), rows, strict=True)
        ],
    )


def image_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of the scores of one image."""
    return ("labelled_pixels", "accuracy", "mean_iou", "mean_dice", *(f"iou:{name}" for name in names))


def _text(value: float | None) -> str:
    return UNDEFINED if value is None else f"{value:.4f}"


def _image_row(row: list[float], names: Sequence[str]) -> list[object]:
    """Return the cells of one image; empty ones for undefined scores."""
    scores = summarize([row], names, resampled=False)
    values = [scores["accuracy"], scores["mean_iou"], scores["mean_dice"]]
    values += [scores["per_class"][name]["iou"] for name in names]
    return [scores["labelled_pixels"], *("" if value is None else f"{value:.6f}" for value in values)]


def _class_table(scores: dict[str, Any]) -> ScoreTable:
    """Return one row per class."""
    rows = []
    for name, unseen in zip(scores["classes"], scores["not_looked_at"], strict=True):
        own = scores["per_class"][name]
        values = (own[score] for score in CLASS_SCORES)
        cells = (UNDEFINED if value is None else f"{value:.4f}" for value in values)
        rows.append((name, *cells, str(own["pixels"]), str(unseen)))
    return ScoreTable(("class", *(name.replace("_", " ") for name in CLASS_SCORES), "pixels", "not looked at"), rows)
