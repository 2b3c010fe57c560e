"""The scores of class maps as a JSON document, tables and a CSV file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fitcli.data.dataset import Sample
from fitcli.tasks.evaluation_result import Evaluation, write_csv
from fitcli.tasks.segment.confusion import IGNORED
from fitcli.tasks.segment.segment_evaluation import segmentation_evaluation
from fitcli.tasks.segment.segment_scores import ImageScores

NAMES = ("water", "iou", "roof")


@pytest.fixture
def evaluation() -> Evaluation:
    """Two images: half of the first is right, the second has no labels. No truth is a roof."""
    truth = np.kron([[0, 1]], np.ones((4, 4), int)).astype(np.uint8)
    found = np.zeros_like(truth)
    found[0, 0] = IGNORED
    pairs = [(truth, found), (np.full_like(truth, IGNORED), found)]
    scored = [(Sample(Path(f"{n}.tif"), None), ImageScores.of([pair], 3, 2)) for n, pair in enumerate(pairs)]
    return segmentation_evaluation("the-task", NAMES, 2, scored, "val", 1)


def test_the_document_has_all_scores(evaluation: Evaluation) -> None:
    document = evaluation.as_dict()
    json.dumps(document, allow_nan=False)
    assert (document["task"], document["split"], document["images"], document["failed"]) == ("the-task", "val", 2, 1)
    assert document["boundary_tolerance"] == 2
    assert document["accuracy"] == 15 / 32
    assert document["dice_per_image"]["images"] == 1
    assert document["dice_per_image"]["samples"] == 1000


def test_tables_have_a_row_per_class_and_the_summary(evaluation: Evaluation) -> None:
    (table,) = evaluation.tables
    assert table.columns == ("class", "iou", "dice", "precision", "recall", "boundary f", "pixels", "not looked at")
    assert table.rows[0][:2] == ("water", f"{15 / 32:.4f}")
    assert table.rows[0][-2:] == ("16", "1")
    assert table.rows[2] == ("roof", "-", "-", "-", "-", "-", "0", "0")
    assert all(len(row) == len(table.columns) for row in table.rows)
    summary = dict(evaluation.as_rows())
    assert summary["accuracy"] == f"{15 / 32:.4f}"
    assert summary["dice per image: median"] == summary["mean dice"]
    assert {"dice per image: low", "dice per image: high", "mean iou", "mean boundary f"} <= set(summary)


def test_the_confusion_has_a_row_per_class(evaluation: Evaluation) -> None:
    confusion = evaluation.confusion()
    assert confusion is not None
    assert confusion.columns == ("is \\ found", *NAMES)
    assert confusion.rows[0] == ("water", "15", "0", "0")


def test_the_file_has_a_line_per_image(evaluation: Evaluation, tmp_path: Path) -> None:
    write_csv(tmp_path / "out.csv", evaluation)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert len(set(evaluation.columns)) == len(evaluation.columns)
    assert first["path"] == "0.tif"
    assert first["labelled_pixels"] == "32"
    assert float(first["iou:water"]) == pytest.approx(15 / 32, abs=1e-6)
    assert first["iou:roof"] == ""
    assert second["labelled_pixels"] == "0"
    assert second["mean_iou"] == ""
