"""Formats the scores of class maps as JSON data, tables and rows of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fitcli.data.dataset import Sample
from fitcli.tasks.evaluation_result import Evaluation, ScoreTable, Split
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
        columns=("path", "labelled_pixels", "accuracy", "mean_iou", "mean_dice", *(f"iou:{name}" for name in names)),
        rows=[(sample.path, *_image_row(row, names)) for sample, row in scored],
        table_scores={f"dice per image: {name}": value for name, value in dice.items() if value is not None},
        tables=(_class_table(scores),),
    )


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
