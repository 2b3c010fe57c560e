"""Formats the result of an evaluation as JSON data, tables and a CSV file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fitcli.errors import FitError
from fitcli.files.publish import publish_csv
from fitcli.files.write_errors import reason_and_advice

Split = Literal["val", "train", "test", "all"]
"""Part of a data set."""

MOST_SHOWN = 12
"""Largest number of classes whose confusion matrix is shown as a table."""


class ScoreTable(NamedTuple):
    """A table of scores beside that of the scores that are one number.

    Attributes:
        columns: Names of the columns.
        rows: Cells as text.
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The scores of a run on the images of a data set.

    Attributes:
        task: Task of the run.
        split: Split of the images.
        images: Number of images that were scored.
        failed: Number of images that could not be read.
        scores: Scores by name, as JSON data.
        columns: Names of the columns of a CSV file.
        rows: Rows of the CSV file, one per image.
        table_scores: Further scores by name, for the table only.
        tables: Further tables.
    """

    task: str
    split: str
    images: int
    failed: int
    scores: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]
    table_scores: dict[str, float] = field(default_factory=dict)
    tables: tuple[ScoreTable, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        return {
            "task": self.task, "split": self.split, "images": self.images, "failed": self.failed, **self.scores
        }  # fmt: skip

    def as_rows(self) -> list[tuple[str, str]]:
        """Return the scores that are one number, as rows of a table."""
        numbers = {name: value for name, value in self.as_dict().items() if isinstance(value, str | int | float)}
        return [
            (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else str(value))
            for name, value in (numbers | self.table_scores).items()
        ]

    def confusion(self) -> ScoreTable | None:
        """Return a table of images or pixels by label (row) and prediction (column); None if it is too large."""
        classes: list[str] = self.scores.get("classes", [])
        if not 0 < len(classes) <= MOST_SHOWN:
            return None
        rows = [(name, *map(str, row)) for name, row in zip(classes, self.scores["confusion"], strict=True)]
        return ScoreTable(("is \\ found", *classes), rows)


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write one line per image.

    Raises:
        FitError: The file cannot be written.
    """
    try:
        with publish_csv(path) as table:
            table.write_rows([evaluation.columns, *evaluation.rows])
    except OSError as error:
        raise FitError(f"--csv {path}: cannot be written: {'; '.join(reason_and_advice(error))}") from None
