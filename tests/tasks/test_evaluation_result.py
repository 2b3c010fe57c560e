"""The result of an evaluation as JSON data, tables and a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fitcli.errors import FitError
from fitcli.tasks.evaluation_result import MOST_SHOWN, Evaluation, ScoreTable, write_csv

SCORES = {"accuracy": 0.75, "confusion": [[3, 1], [0, 4]], "classes": ["cat", "dog"], "auroc": None}


def result(**scores: object) -> Evaluation:
    return Evaluation(
        task="classify", split="val", images=8, failed=1, scores={**SCORES, **scores}, columns=("path", "label"),
        rows=[("a.png", "cat"), ("b, c.png", "dog")], table_scores={"kind: accuracy": 0.5},
    )  # fmt: skip


def test_a_document_holds_all_scores_and_a_table_those_that_are_numbers() -> None:
    document = result().as_dict()
    assert document == {"task": "classify", "split": "val", "images": 8, "failed": 1, **SCORES}
    rows = result().as_rows()
    assert rows[2:] == [("images", "8"), ("failed", "1"), ("accuracy", "0.7500"), ("kind: accuracy", "0.5000")]


def test_a_confusion_matrix_is_shown_if_it_is_small() -> None:
    assert result().tables == ()
    assert isinstance(result().confusion(), ScoreTable)
    assert result().confusion() == (("is \\ found", "cat", "dog"), [("cat", "3", "1"), ("dog", "0", "4")])
    many = [str(number) for number in range(MOST_SHOWN + 1)]
    assert result(classes=many).confusion() is None
    assert result(classes=[]).confusion() is None


def test_a_table_has_one_line_per_image(tmp_path: Path) -> None:
    write_csv(tmp_path / "out.csv", result())
    assert list(csv.reader((tmp_path / "out.csv").open())) == [["path", "label"], ["a.png", "cat"], ["b, c.png", "dog"]]
    with pytest.raises(FitError, match="cannot be written"):
        write_csv(tmp_path / "missing" / "out.csv", result())
