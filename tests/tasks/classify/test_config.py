"""The part of config.json of a classifier: its targets, which have to go with the model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fitcli.errors import CheckpointError
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig, save_config
from fitcli.runs.targets import Target
from fitcli.tasks.classify.config import ClassifyDetails
from fitcli.tasks.load import load_config
from models.presets import classifier_preset
from models.sharpening import Sharpening

COLORS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
TARGETS = (Target("kind", "single-label", ("cat", "dog")), Target("marks", "multi-label", ("a", "b", "c")))
MODEL = classifier_preset("debug", 3, 2)
SEVERAL = replace(MODEL, classes=5, targets=(2, 3))


def test_one_class_per_image_adds_nothing_to_the_document() -> None:
    assert ClassifyDetails().to_document() == {}
    assert ClassifyDetails.from_document({}) == ClassifyDetails()
    assert ClassifyDetails().targets == ()


def test_several_targets_are_stored_under_their_old_key() -> None:
    details = ClassifyDetails(all_targets=TARGETS)
    document = details.to_document()
    assert [task["name"] for task in document["tasks"]] == ["kind", "marks"]
    assert ClassifyDetails.from_document(document) == details
    config = RunConfig(model=SEVERAL, preprocessing=COLORS, classes=("cat", "dog"), details=details)
    assert config.targets == config.class_targets == TARGETS


def test_targets_have_to_go_with_the_model() -> None:
    for model, details, message in (
        (MODEL, ClassifyDetails(all_targets=TARGETS), "2 targets for a model of 1 targets"),
        (replace(SEVERAL, classes=4, targets=(2, 2)), ClassifyDetails(all_targets=TARGETS), "3 class names"),
        (replace(MODEL, channels=1), ClassifyDetails(), "3 channels of pixels for a model of 1 channels"),
    ):
        with pytest.raises(CheckpointError, match=message):
            RunConfig(model=model, preprocessing=COLORS, classes=("cat", "dog"), details=details)


def test_decisions_of_validation_are_kept_and_left_out_of_the_rest() -> None:
    decisions = {
        "thresholds": {"label": {"dog": 0.25}},
        "sharpening": {"latents": [8.0, 16.0], "factors": [1.0, 1.5]},
    }
    details = ClassifyDetails().with_decisions(decisions)
    assert details.sharpening == Sharpening((8.0, 16.0), (1.0, 1.5))
    assert details.to_document() == decisions
    assert ClassifyDetails.from_document(json.loads(json.dumps(decisions))) == details
    assert details.identity() == ClassifyDetails().identity()
    assert details.with_decisions({}) == ClassifyDetails()


@pytest.mark.parametrize(
    "document",
    [
        {"latents": [8, 16], "factors": [1]},
        {"latents": [8, 16], "factors": [1, 0.5]},
        {"latents": [8, 16], "factors": [1, 1e6]},
        {"latents": list(range(1, 1000)), "factors": [1] * 999},
        {"latents": [8, 16], "factors": [1, "much"]},
        {"latents": [8, None], "factors": [1, 2]},
        {"curve": [1]},
        [1, 2],
        3,
    ],
)
def test_a_forged_sharpening_is_refused(document: Any, tmp_path: Path) -> None:
    save_config(tmp_path, RunConfig(model=MODEL, preprocessing=COLORS, classes=("a", "b"), details=ClassifyDetails()))
    entries = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(entries | {"sharpening": document}))
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_config(tmp_path)
