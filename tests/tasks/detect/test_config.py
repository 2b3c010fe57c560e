"""The part of config.json of a model that finds objects."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from support.detect_models import checkpoint

from fitcli.errors import CheckpointError
from fitcli.runs.config import config_document, identity
from fitcli.tasks.detect.config import UNDECIDED, DetectDetails


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize("points", [False, True])
def test_it_comes_back(points: bool, one: bool) -> None:
    config = checkpoint(points).chosen({"one_per_place": one}).config
    document = json.loads(json.dumps(config_document(config)))
    assert document["objects"]["kind"] == ("points" if points else "boxes")
    assert ("one_per_place" in document["objects"]) == one
    assert DetectDetails.from_document(document) == config.details


def test_a_choice_changes_no_hash() -> None:
    """Candidates in a folder of `--state` serve both choices."""
    model = checkpoint()
    assert identity(model.config) == identity(model.chosen({"one_per_place": True}).config)
    assert model.chosen({}).config == model.config


def test_a_validation_decides_the_threshold() -> None:
    details = DetectDetails(side=6.0)
    assert details.threshold == UNDECIDED
    decided = details.with_decisions({"threshold": 0.45})
    assert decided.threshold == 0.45
    assert decided.with_decisions({}) == details
    config = checkpoint().config
    assert identity(config) == identity(replace(config, details=config.details.with_decisions({"threshold": 0.9})))


@pytest.mark.parametrize(
    "entries",
    [
        {"kind": "points", "side": 6, "threshold": 0.3}, {"kind": "boxes", "side": 0, "threshold": 0.3},
        {"kind": "boxes", "side": -1, "threshold": 0.3}, {"kind": "boxes", "side": 6, "threshold": 3},
        {"kind": "boxes", "side": float("nan"), "threshold": 0.3}, {"kind": "boxes", "side": "x", "threshold": 0.3},
        {"kind": "boxes", "side": 6, "threshold": 0.3, "one_per_place": "no"},
    ],
)  # fmt: skip
def test_impossible_entries(entries: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no objects|no threshold|could not convert|neither true nor false"):
        DetectDetails.from_document({"objects": entries})


def test_outputs_must_agree_with_the_classes() -> None:
    config = checkpoint().config
    with pytest.raises(CheckpointError, match="values of its classes and sides"):
        replace(config, classes=("iron",))
    assert DetectDetails(side=0.0).outputs(3) == 3
    assert DetectDetails(side=8.0).half_side(2) == 2
