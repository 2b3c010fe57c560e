"""What a run does not take from another one is said, and layers of other sizes are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fitcli.errors import CheckpointError, FitError
from fitcli.images.patch_size import PatchSize
from fitcli.patches.preprocessing import Preprocessing
from fitcli.runs.config import RunConfig
from fitcli.runs.start_checks import check_start, has_other_head, has_other_stem
from fitcli.tasks.classify.config import ClassifyDetails
from models.presets import classifier_preset

RUN = Path("run")


def classifying(preset: str = "debug", channels: int = 3, patch: int | None = None, classes: Any = "ab",
                head: str | None = None) -> RunConfig:  # fmt: skip
    pixels = Preprocessing(channels=channels, dtype="uint8", mean=(0.0,) * channels, std=(1.0,) * channels)
    changes = {name: value for name, value in (("patch", patch), ("output_head", head)) if value is not None}
    model = classifier_preset(preset, channels, len(classes), changes)
    return RunConfig(model=model, preprocessing=pixels, classes=tuple(classes), details=ClassifyDetails())


def test_another_plan_of_the_same_task_is_named() -> None:
    shorter = replace(classifying().model, plan="(1)1")
    with pytest.raises(CheckpointError, match=r"has the plan \(1\)1, this run \(1\)1\(1\)1; give --plan"):
        check_start(RUN, replace(classifying(), model=shorter), classifying())


def test_equal_runs_take_everything() -> None:
    assert check_start(RUN, classifying(), classifying()) == ()


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (classifying(channels=4), "16 x 16 pixels with 4 values per pixel"),
        (classifying(patch=8), "8 x 8 pixels with 3 values per pixel"),
        (classifying(channels=512, patch=1), "linear patches of 1 x 1 pixels with 512 values per pixel"),
    ],
)
def test_another_stem_begins_anew(config: RunConfig, what: str) -> None:
    assert has_other_stem(classifying(), config)
    (note,) = check_start(RUN, classifying(), config)
    assert note.startswith("--start-from run: the stem begins anew, because it is for conv patches of 16 x 16 pixels")
    assert note.endswith(what)


def test_other_classes_begin_anew() -> None:
    assert check_start(RUN, classifying(), classifying(classes="abc")) == (
        "--start-from run: the weights of the classes begin anew",
    )


def beginning(start: str, head: str | None = None, plan: str | None = None) -> RunConfig:
    config = classifying(head=head)
    changes = {"attention_start": start} | ({} if plan is None else {"plan": plan})
    return replace(config, model=replace(config.model, **changes))


def test_a_start_of_attention_that_changes_nothing_is_refused() -> None:
    before = beginning("reference")
    with pytest.raises(
        FitError, match="--attention-start unit: the weights of attention are those of --start-from run"
    ):
        check_start(RUN, before, beginning("unit"), {"attention_start"})
    assert check_start(RUN, before, beginning("unit")) == (), "the default of the preset"
    assert check_start(RUN, before, before, {"attention_start"}) == ()
    notes = check_start(RUN, before, beginning("unit", head="mean"), {"attention_start"})
    assert notes[-1] == "--start-from run: --attention-start unit holds for what begins anew alone"


def test_features_of_other_patches_are_said() -> None:
    def features(pixels: float) -> RunConfig:
        config = classifying()
        return replace(config, preprocessing=replace(config.preprocessing, trained_patch=PatchSize(pixels)))

    assert check_start(RUN, features(256), features(256)) == ()
    assert check_start(RUN, classifying(), features(256)) == ()
    assert check_start(RUN, features(512), features(256)) == (
        "--start-from run: it learned from features of patches of 512 pixels, these are of 256 pixels",
    )


@pytest.mark.parametrize(
    ("before", "config", "other"),
    [
        (classifying(), classifying(head="mean"), True),
        (classifying(head="mean"), classifying(), True),
        (classifying(head="mean"), classifying(head="mean"), False),
        (classifying(head="mean"), classifying(head="mean", classes="abc"), True),
        (classifying(), classifying(classes="abc"), False),
    ],
)
def test_another_output_head_begins_anew(before: RunConfig, config: RunConfig, other: bool) -> None:
    """Nobody knows which weights of an added head are those of the classes."""
    assert has_other_head(before, config) == other
    anew = "--start-from run: the output head begins anew, because it is another one"
    assert (anew in check_start(RUN, before, config)) == other


@pytest.mark.parametrize("preset", ["nano", "mini", "tiny", "small"])
def test_layers_of_other_sizes_are_refused(preset: str) -> None:
    with pytest.raises(CheckpointError, match=r"is of another architecture \(.*this run has .*give the same --preset"):
        check_start(RUN, classifying(preset), classifying())
