"""Formats the result of an evaluation as JSON data, tables and a CSV file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fitcli.errors import FitError
from fitcli.files.publish import publish_csv
from fitcli.files.write_errors import reason_and_advice
from fitcli.reports.page import fragment
from fitcli.reports.parts import DataTable

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


class TrainedOn(NamedTuple):
    """How many of the images that were scored a run was trained on.

    Attributes:
        document: Numbers by name, as JSON data.
        rows: Rows of the table of scores.
        seen: For each image: "train", "val" or "" if it was neither.
    """

    document: dict[str, Any]
    rows: tuple[tuple[str, str], ...]
    seen: tuple[str, ...]


class UnitScores(NamedTuple):
    """Scores of patients, each from all of its images.

    Attributes:
        document: Scores as JSON data.
        table: Scores as a table.
        columns: Names of the columns of a CSV file.
        rows: Its rows, one per patient.
    """

    document: dict[str, Any]
    table: ScoreTable
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]


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
        intervals: Ends of the 95 % intervals of scores, by their name in the table.
        trained_on: How many of the images the run was trained on, as JSON data and as rows of the table; None without
            a record of the training.
        units: Scores of patients; None if they were not asked for.
        complete: False if anything that was asked for beside the scores of images is missing, which was reported.
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
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    trained_on: TrainedOn | None = None
    units: UnitScores | None = None
    complete: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON data."""
        document = {
            "task": self.task, "split": self.split, "images": self.images, "failed": self.failed, **self.scores
        }  # fmt: skip
        further = {
            "trained_on": self.trained_on and self.trained_on.document,
            "per_patient": self.units and self.units.document,
        }
        return document | {name: value for name, value in further.items() if value is not None}

    def as_rows(self) -> list[tuple[str, str]]:
        """Return the scores that are one number, as rows of a table."""
        numbers = {name: value for name, value in self.as_dict().items() if isinstance(value, str | int | float)}
        rows = [
            (name.replace("_", " "), _cell(value, self.intervals.get(name)))
            for name, value in (numbers | self.table_scores).items()
        ]
        return rows + (list(self.trained_on.rows) if self.trained_on else [])

    def _repr_html_(self) -> str:
        """Return the scores as tables, for notebooks."""
        further = [DataTable("", *table) for table in self.tables]
        if (confusion := self.confusion()) is not None:
            further.append(DataTable("", *confusion))
        return fragment(
            f"{self.task}: {self.images:,} images of {self.split}", ("score", "value"), self.as_rows(), *further
        )

    def confusion(self) -> ScoreTable | None:
        """Return a table of images or pixels by label (row) and prediction (column); None if it is too large."""
        classes: list[str] = self.scores.get("classes", [])
        if not 0 < len(classes) <= MOST_SHOWN:
            return None
        rows = [(name, *map(str, row)) for name, row in zip(classes, self.scores["confusion"], strict=True)]
        return ScoreTable(("is \\ found", *classes), rows)


def _cell(value: str | float, ends: Sequence[float] | None) -> str:
    """Return a score as text, with its interval."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" + ("" if ends is None else f" ({ends[0]:.4f} to {ends[1]:.4f})")


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write one line per image, or one per patient if patients were scored.

    Raises:
        FitError: The file cannot be written.
    """
    written = evaluation.units or evaluation
    try:
        with publish_csv(path) as table:
            table.write_rows([written.columns, *written.rows])
    except OSError as error:
        raise FitError(f"--csv {path}: cannot be written: {'; '.join(reason_and_advice(error))}") from None
