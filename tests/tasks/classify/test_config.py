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
        (
            replace(SEVERAL, classes=4, targets=(2, 2)),
            ClassifyDetails(all_targets=TARGETS),
            "3 outputs of a target",
        ),
        (replace(MODEL, channels=1), ClassifyDetails(), "3 channels of pixels for a model of 1 channels"),
    ):
        with pytest.raises(CheckpointError, match=message):
            RunConfig(model=model, preprocessing=COLORS, classes=("cat", "dog"), details=details)


NUMBERS = (
    Target("age", "value", (), outputs=1, scale=(61.5, 12.0)),
    Target("grade", "order", ("low", "mid", "high"), outputs=2),
    Target("life", "survival", (), outputs=2, scale=(3.0, 8.0)),
)


def test_targets_of_other_kinds_keep_their_scale() -> None:
    details = ClassifyDetails(all_targets=(*NUMBERS, TARGETS[0]))
    document = json.loads(json.dumps(details.to_document()))
    assert ClassifyDetails.from_document(document) == details
    assert document["tasks"] == [
        {"name": "age", "kind": "value", "classes": [], "outputs": 1, "scale": [61.5, 12.0]},
        {"name": "grade", "kind": "order", "classes": ["low", "mid", "high"], "outputs": 2},
        {"name": "life", "kind": "survival", "classes": [], "outputs": 2, "scale": [3.0, 8.0]},
        {"name": "kind", "kind": "single-label", "classes": ["cat", "dog"]},
    ]
    model = replace(MODEL, classes=7, targets=(1, 2, 2, 2))
    config = RunConfig(model=model, preprocessing=COLORS, classes=(), details=details)
    assert config.class_targets == details.all_targets


def test_the_hash_names_a_scale_and_is_that_of_earlier_versions_without_one() -> None:
    assert ClassifyDetails(all_targets=TARGETS[:1]).identity() == (
        "diffusion=None, sequence=None, tasks=(ClassTask(name='kind', kind='single-label', classes=('cat', 'dog')),)"
    )
    texts = {ClassifyDetails(all_targets=(replace(NUMBERS[0], scale=(0.0, d)),)).identity() for d in (1.0, 2.0)}
    assert len(texts) == 2


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"kind": "ordinal", "classes": ["a", "b"]}, "'ordinal' is none of single-label, multi-label, value"),
        ({"kind": "single-label", "classes": ["a", "b"], "outputs": 1}, "has 1 outputs, not 2"),
        ({"kind": "value", "classes": [], "outputs": 1}, "has 0 values of a scale, not 2"),
        ({"kind": "value", "classes": ["a"], "scale": [0, 1]}, "has 1 classes, not 0"),
        ({"kind": "order", "classes": ["a", "b", "c"]}, "has 3 outputs, not 2"),
        ({"kind": "survival", "classes": [], "outputs": 2, "scale": [2, 1]}, "impossible ends of bins"),
    ],
)
def test_targets_that_contradict_themselves_are_refused(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassifyDetails.from_document({"tasks": [{"name": "x", **entries}]})


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
