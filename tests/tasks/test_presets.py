"""Presets of other packages: trained and profiled by name, each for its kind of model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.command_line import Fit
from support.packages import install, restored
from support.pictures import save

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


BAD = {
    "nope": ("--preset nope: no such preset; there are ", "; install the package that has it"),
    "unplanned": ("layer plan '(1)1(1' does not have the form",),
    "narrow": ("token_width 65 is no multiple of a head",),
    "textual": ("cannot be imported (ConfigError: latents must be int, not '2')", "update or uninstall fit-sizes 1.0"),
}
SOURCE = """
from dataclasses import replace
from pathlib import Path
from models.presets import PRESETS
debug = PRESETS["debug"]
unplanned, narrow = replace(debug, plan="(1)1(1"), replace(debug, token_width=65)
def __getattr__(name):
    return replace(debug, latents="2")
"""
USERS = {
    "train": ("train", "{data}", "--out", "{run}", "--steps", "1", "--device", "cpu"),
    "profile-memory": ("profile-memory", "--method", "estimate", "--res", "128", "--device", "cpu"),
}


@pytest.mark.walk(3)
@pytest.mark.parametrize("command", USERS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_preset_is_named_and_the_others_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: Fit, name: str, command: str
) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(2):
            save(tmp_path / "data" / label / f"{number}.png", np.zeros((64, 64, 3), np.uint8))
    site = tmp_path / "site"
    added = {name: f"fit_sizes:{name}" for name in BAD if name != "nope"}
    install(site, "fit-sizes", {"fit.presets": added}, SOURCE)
    monkeypatch.syspath_prepend(str(site))
    sys.modules.pop("fit_sizes", None)
    values = {"data": str(tmp_path / "data"), "run": str(tmp_path / "run")}
    result = fit(*(each.format(**values) for each in USERS[command]), "--preset", name)
    sys.modules.pop("fit_sizes", None)
    assert result.exit_code == 1, result.output
    (line,) = [each for each in result.stderr.splitlines() if each.startswith("error: ")]
    assert name in line
    for part in BAD[name]:
        assert part in line
    if name == "nope":
        assert set(added) < set(line.split("there are ")[1].split(";")[0].split(", "))
        assert set(PRESETS) < set(line.split("there are ")[1].split(";")[0].split(", "))
