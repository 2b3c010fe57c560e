"""Defaults that vary: of a preset, of an unknown one, and of runs that were begun before presets had their own."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from fitcli.runs.option import declared_options
from fitcli.runs.task_options import USUAL_PRESET, PresetDefaults, TaskOptions
from fitcli.runs.train_settings import TrainSettings
from fitcli.tasks.registry import task_options


@dataclass(frozen=True, kw_only=True, slots=True)
class Weaving(TaskOptions):
    """Options of a task that no run has."""

    presets: ClassVar[dict[str, PresetDefaults]] = {
        USUAL_PRESET: PresetDefaults(learning_rate=3, ema=0.25),
        "base": PresetDefaults(learning_rate=2, warmup=0.5),
    }
    earlier: ClassVar[PresetDefaults] = PresetDefaults(learning_rate=7, ema=0.125)


def test_a_default_is_that_of_the_preset_and_of_the_usual_one_if_it_is_unknown() -> None:
    assert (Weaving.default_of("learning_rate", "base"), Weaving.default_of("warmup", "base")) == (2, 0.5)
    assert (Weaving.default_of("learning_rate", "huge"), Weaving.default_of("ema", "huge")) == (3, 0.25)
    settings = TrainSettings(task="weave", preset="base", options=Weaving())
    assert (settings.learning_rate, settings.ema, settings.warmup) == (2, 0, 0.5)


def test_stored_settings_without_a_value_have_the_defaults_of_their_time() -> None:
    stored = {"preset": "base", "learning_rate": 5, "ema": None, "seed": None}
    assert Weaving.with_earlier_defaults(stored) == {
        "preset": "base", "learning_rate": 5, "ema": 0.125, "seed": None, "warmup": 0.1, "augment": False,
        "drop_path": 0,
    }  # fmt: skip


def test_every_option_that_varies_has_a_default_and_every_default_an_option() -> None:
    varying = {
        name
        for settings in (TrainSettings, *task_options().values())
        for name, declared in declared_options(settings).items()
        if declared.option.varies
    }
    assert varying == {each.name for each in fields(PresetDefaults)}
