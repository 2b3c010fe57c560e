"""Scores as JSON data, tables and rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.detect_models import found_of, objects_of

from fitcli.data.dataset import Sample
from fitcli.tasks.detect.detection_evaluation import detection_evaluation
from fitcli.tasks.detect.detection_scores import ImageMatches
from fitcli.tasks.detect.matching import match_boxes


def test_tables_and_rows() -> None:
    own = ImageMatches(match_boxes(found_of([(0, 0, 5, 5), (9, 9, 12, 12)], [0.9, 0.8]), objects_of([(0, 0, 5, 5)])))
    sample = Sample(Path("a.png"), None)
    result = detection_evaluation("detect", ("cell", "none"), 0.5, [(sample, own.as_row())], "val", 1)
    document = json.loads(json.dumps(result.as_dict()))
    assert document["ap50"] == pytest.approx(1)
    assert document["precision"] == 0.5
    assert result.columns == ("path", "precision", "recall", "f1", "true", "found")
    assert result.rows == [(Path("a.png"), 0.5, 1.0, 2 / 3, 1, 2)]
    classes, octaves = result.tables
    assert classes.rows[0] == ("cell", "1.0000", "1.0000", "0.5000", "1.0000", "0.6667", "1", "2")
    assert classes.rows[1][1] == "-"
    assert octaves.rows[0][0] == "2 to 4"
    assert ("sensitivity at 8 false per image", "1.0000") in result.as_rows()
