"""Formats the scores of found objects as JSON data, tables and rows of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fitcli.data.dataset import Sample
from fitcli.tasks.detect.detection_scores import ImageMatches, counts_at, summary
from fitcli.tasks.evaluation_result import Evaluation, ScoreTable, Split

COLUMNS = ("precision", "recall", "f1", "true", "found")
"""Scores in the tables."""

UNDEFINED = "-"
"""Cell of a score that is undefined."""


def detection_evaluation(
    task: str,
    names: Sequence[str],
    threshold: float,
    scored: Sequence[tuple[Sample, list[float]]],
    split: Split,
    failed: int,
) -> Evaluation:
    """Return the scores over images.

    Args:
        task: Name of the task.
        names: Names of the classes.
        threshold: Least score of the objects that are counted.
        scored: The images, each with its matches from `ImageMatches.as_row`.
        split: Split of the images.
        failed: Number of images that could not be read.
    """
    images = [ImageMatches.of_row(row) for _, row in scored]
    scores = summary(images, names, threshold)
    kinds = [name for name in ("ap50", "ap") if name in scores["per_class"][names[0]]]
    tables = [_table(("class", *kinds), [((name,), own) for name, own in scores["per_class"].items()])]
    if octaves := scores.get("per_octave"):
        rows = [((f"{own['from']:g} to {own['to']:g}",), own) for own in octaves]
        tables.append(_table(("side in pixels",), rows))
    froc = {f"sensitivity at {rate} false per image": value for rate, value in scores["froc"].items() if rate != "mean"}
    return Evaluation(
        task=task,
        split=split,
        images=len(scored),
        failed=failed,
        scores=scores,
        columns=("path", *COLUMNS),
        rows=[(sample.path, *_row(each, threshold)) for (sample, _), each in zip(scored, images, strict=True)],
        table_scores=froc | {"froc": scores["froc"]["mean"]},
        tables=tuple(tables),
    )


def _table(first: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], dict[str, Any]]]) -> ScoreTable:
    """Return a table; each row has its own first cell, then the scores that the columns name."""
    columns = (*first, *COLUMNS)
    return ScoreTable(columns, [(*heads, *(_cell(own[name]) for name in columns[len(heads) :])) for heads, own in rows])


def _row(image: ImageMatches, threshold: float) -> list[object]:
    scores = counts_at(image.matches, threshold).scores()
    return ["" if scores[name] is None else scores[name] for name in COLUMNS]


def _cell(value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return f"{value:.4f}" if isinstance(value, float) else str(value)
