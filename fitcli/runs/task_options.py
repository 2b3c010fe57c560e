"""The options of `fit train` that belong to one task, and the defaults that vary with task and preset.

Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fitcli.runs.option import check_options

USUAL_PRESET = "tiny"
"""Preset of a run without `--preset`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PresetDefaults:
    """Defaults of the options that vary with task and preset, by the name of the option.

    Attributes:
        learning_rate: Highest learning rate.
        ema: Greatest decay per step of the moving average of the weights; 0 for no average.
        augment: Whether training images are augmented in the usual way.
        warmup: Fraction of the steps over which the learning rate rises.
        drop_path: Drop rate of the last layer, for tasks with this option.
    """

    learning_rate: float = 1e-3
    ema: float = 0.0
    augment: bool = False
    warmup: float = 0.1
    drop_path: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskOptions:
    """The options of `fit train` that belong to one task: a task derives a dataclass of options from it.

    A field that varies (`Option.varies`) may be None, until `TrainSettings` replaces it by the default of the preset.

    Attributes:
        presets: Defaults that vary, by preset.
        preset_group: Group of the entry points of presets that other packages add.
        earlier: Those of versions in which they depended on the task alone. Runs of these versions have them.
        next_command: Command to suggest after training, with `{run}` for the run folder.
    """

    presets: ClassVar[Mapping[str, PresetDefaults]] = {USUAL_PRESET: PresetDefaults()}
    preset_group: ClassVar[str] = "fit.presets"
    earlier: ClassVar[PresetDefaults] = PresetDefaults()
    next_command: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def ignores_classes(self) -> bool:
        """Whether the classes of the data set are left out although the task could learn them."""
        return False

    @classmethod
    def upgraded(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored settings under their present names; a task overrides this when it renames an option."""
        return dict(stored)

    @classmethod
    def default_of(cls, name: str, preset: str) -> Any:
        """Return the default of an option that varies. An unknown preset, which is refused later, has the usual one."""
        return getattr(cls.presets.get(preset, cls.presets[USUAL_PRESET]), name)

    @classmethod
    def with_earlier_defaults(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return settings that an earlier version stored, with its defaults where they have no value."""
        names = [each.name for each in dataclasses.fields(PresetDefaults)]
        missing = {name: getattr(cls.earlier, name) for name in names if stored.get(name) is None}
        return {**stored, **missing}
