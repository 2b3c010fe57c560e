"""The part of config.json of a classifier: its targets, which have to go with the model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fitcli.errors import CheckpointError
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.targets import Target
from fitcli.tasks.classify.config import ClassifyDetails
from models.presets import classifier_preset

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
        (
            replace(SEVERAL, classes=4, targets=(2, 2)),
            ClassifyDetails(all_targets=TARGETS),
            "3 outputs of a target",
        ),
        (replace(MODEL, channels=1), ClassifyDetails(), "3 channels of pixels for a model of 1 channels"),
    ):
        with pytest.raises(CheckpointError, match=message):
            RunConfig(model=model, preprocessing=COLORS, classes=("cat", "dog"), details=details)
