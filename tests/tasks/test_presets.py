"""Presets of other packages: trained and profiled by name, each for its kind of model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.command_line import Fit
from support.packages import restored

from fitcli.tasks.presets import DECODER_PRESETS, DENOISER_PRESETS, ENCODER_PRESETS, PRESETS_BY_GROUP
from fitcli.tasks.registry import TASKS, find_task, task_options, train_settings
from models.checks import ConfigError
from models.presets import DECODERS, DENOISERS, PRESETS

KINDS = {"fit.presets": PRESETS, "fit.denoisers": DENOISERS, "fit.decoders": DECODERS}


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    with restored(*PRESETS_BY_GROUP.values()):
        yield


def test_each_kind_of_model_has_its_registry() -> None:
    assert PRESETS_BY_GROUP.keys() == KINDS.keys()
    assert [ENCODER_PRESETS.group, DENOISER_PRESETS.group, DECODER_PRESETS.group] == list(KINDS)
    assert all(PRESETS_BY_GROUP[group].names() == list(presets) for group, presets in KINDS.items())


@pytest.mark.parametrize("task", TASKS)
def test_a_preset_is_known_by_its_name(task: str, fit: Fit) -> None:
    group = task_options()[task].preset_group
    settings = train_settings(task, preset="wide")
    with pytest.raises(ConfigError, match="no preset 'wide'; there are debug"):
        find_task(task).check(settings)
    PRESETS_BY_GROUP[group].register("wide", replace(KINDS[group]["debug"], latents=3))
    find_task(task).check(settings)
    assert find_task(task).preset("wide").config.latents == 3
    # Its defaults are those of the usual preset.
    assert train_settings(task, preset="wide").learning_rate == train_settings(task).learning_rate


def test_its_memory_is_estimated(fit: Fit) -> None:
    ENCODER_PRESETS.register("wide", PRESETS["tiny"])
    options = ["--device", "cpu", "--method", "estimate", "--mode", "train", "--res", "512", "--json"]
    found = {}
    for name in ("wide", "tiny"):
        result = fit("profile-memory", "--preset", name, *options)
        assert result.exit_code == 0, result.output
        found[name] = json.loads(result.stdout)
        assert found[name]["model"]["name"] == name
    assert found["wide"]["rows"] == found["tiny"]["rows"]


@pytest.mark.parametrize("wrong", [3, "tiny", {"plan": "(1)1"}, PRESETS], ids=str)
def test_other_objects_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"preset 'wide' must be a models\.presets\.Preset, not"):
        ENCODER_PRESETS.register("wide", wrong)
