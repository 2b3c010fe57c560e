"""What an evaluation found, for people and for programs."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fitcli.errors import FitError
from fitcli.files.atomic import open_text, replacing

Split = Literal["val", "train", "test", "all"]
"""Which images of a data set."""

MOST_SHOWN = 12
"""Classes of a confusion matrix that is shown as a table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was found.

    Attributes:
        task: Of the run.
        split: That was looked at.
        images, failed: How many were scored, and how many could not be read.
        scores: By name, for JSON.
        columns, rows: One line per image, for a CSV file.
    """

    task: str
    split: str
    images: int
    failed: int
    scores: dict[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[object, ...]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "task": self.task, "split": self.split, "images": self.images, "failed": self.failed, **self.scores
        }  # fmt: skip

    def as_rows(self) -> list[tuple[str, str]]:
        """The scores that are one number, for a table."""
        numbers = {name: value for name, value in self.as_dict().items() if isinstance(value, str | int | float)}
        if self.task == "diffusion":
            numbers |= {f"loss at time {level['time']:.2f}": level["loss"] for level in self.scores["levels"]}
        for task, scores in self.scores.get("tasks", {}).items():
            numbers |= {f"{task}: {name}": value for name, value in scores.items() if isinstance(value, float)}
        return [
            (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else str(value))
            for name, value in numbers.items()
        ]

    def confusion(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]] | None:
        """Columns and rows of a table of images by label (row) and prediction (column); None where it has no place."""
        classes: list[str] = self.scores.get("classes", [])
        if not 0 < len(classes) <= MOST_SHOWN:
            return None
        rows = [(name, *map(str, row)) for name, row in zip(classes, self.scores["confusion"], strict=True)]
        return ("is \\ found", *classes), rows


def write_csv(path: Path, evaluation: Evaluation) -> None:
    """Write one line per image.

    Raises:
        FitError: It cannot be written.
    """
    try:
        with replacing(path) as temporary, open_text(temporary) as file:
            csv.writer(file).writerows([evaluation.columns, *evaluation.rows])
    except OSError as error:
        raise FitError(f"--csv {path}: cannot be written ({error.strerror})") from None
