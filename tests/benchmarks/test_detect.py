"""The scores on marks are those of the scenes that the benchmark wrote; candidates are decided about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.detect_models import checkpoint, found_of, objects_of

from benchmarks.learning import detect
from benchmarks.speed.detect import decide
from fitcli.demo import mark_dataset, mark_scenes
from fitcli.demo.mark_scenes import KINDS
from fitcli.tasks.detect.matching import match_boxes


def test_a_run_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SCENES", 2), ("TEST_SCENES", 1), ("SIDE", 100), ("LARGE_SIDE", 120)):
        monkeypatch.setattr(mark_dataset, name, value)
    # The small model knows two classes.
    monkeypatch.setattr(mark_scenes, "KINDS", KINDS[:2])
    monkeypatch.setattr(mark_dataset, "KINDS", KINDS[:2])
    detect.make_data(tmp_path, [150])
    detect.make_data(tmp_path, [150])  # writes nothing again
    config = replace(checkpoint().config, classes=KINDS[:2])
    row = detect.score(replace(checkpoint(), config=config), tmp_path, 150, one_per_place=True)
    assert row["true"] > 0
    assert row["one_per_place"]
    assert set(row["recall_by_side"]) == {"0 to 12", "12 to 24", "24 to 1000"}


def test_recall_by_side() -> None:
    objects = objects_of([(0, 0, 8, 8), (20, 20, 28, 28), (50, 50, 80, 80)])
    matches = match_boxes(found_of([(0, 0, 8, 8), (20, 20, 28, 28), (50, 50, 80, 80)], [0.9, 0.2, 0.5]), objects)
    assert detect.recalls(matches) == {"0 to 12": 0.5, "12 to 24": 0.0, "24 to 1000": 1.0}
    assert np.isclose(detect.SCORE, 0.3)


def test_candidates_are_decided_about() -> None:
    """Every one has its own square of cells, so most stay; those that overlap a better one do not."""
    figures = decide(400)
    assert 200 < figures["kept"] < 400
    assert decide(400)["kept"] == figures["kept"]
