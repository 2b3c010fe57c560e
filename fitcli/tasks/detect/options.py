"""Options of `fit train --task detect`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fitcli.runs.option import shared
from fitcli.runs.task_options import PresetDefaults
from fitcli.tasks.preset_defaults import DENSE_MODELS, EARLIER_CLASSIFIER
from fitcli.tasks.shared_options import DROP_PATH, RARE_WINDOWS, SHIFT_CANVAS, BackgroundOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectOptions(BackgroundOptions):
    """Options of models that find objects; the help text of each field explains it."""

    presets: ClassVar[Mapping[str, PresetDefaults]] = DENSE_MODELS
    earlier: ClassVar[PresetDefaults] = EARLIER_CLASSIFIER
    next_command: ClassVar[str] = "fit detect IMAGE --checkpoint {run} --out objects.geojson"

    rare_windows: float = shared(RARE_WINDOWS)
    shift_canvas: int = shared(SHIFT_CANVAS)
    drop_path: float = shared(DROP_PATH)


OPTIONS = DetectOptions
