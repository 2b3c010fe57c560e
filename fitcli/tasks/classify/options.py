"""Options of `fit train --task classify`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fitcli.runs.option import option, shared
from fitcli.runs.task_options import PresetDefaults
from fitcli.tasks.preset_defaults import CLASSIFIERS, EARLIER_CLASSIFIER
from fitcli.tasks.shared_options import DROP_PATH, LABEL_SMOOTHING, SHIFT_CANVAS, BackgroundOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyOptions(BackgroundOptions):
    """Options of classifiers; the help text of each field explains it."""

    presets: ClassVar[Mapping[str, PresetDefaults]] = CLASSIFIERS
    earlier: ClassVar[PresetDefaults] = EARLIER_CLASSIFIER
    next_command: ClassVar[str] = "fit classify IMAGE --checkpoint {run}"

    balance: bool = option(
        False, "Weight classes by inverse frequency.", more="Every class then has the same weight in the loss."
    )
    shift_canvas: int = shared(SHIFT_CANVAS)
    token_dropout: float = option(
        0.0, "Share of patches to hide.", minimum=0, below=1, more="Hidden patches are treated as padding."
    )
    drop_path: float = shared(DROP_PATH)
    label_smoothing: float = shared(LABEL_SMOOTHING)


OPTIONS = ClassifyOptions
