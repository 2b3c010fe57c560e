"""Options of `fit train --task classify`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fitcli.runs.option import option, shared
from fitcli.runs.task_options import PresetDefaults
from fitcli.tasks.preset_defaults import CLASSIFIERS, EARLIER_CLASSIFIER
from fitcli.tasks.shared_options import DROP_PATH, LABEL_SMOOTHING, SHIFT_CANVAS, BackgroundOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyOptions(BackgroundOptions):
    """Options of classifiers; the help text of each field explains it.

    `best_by` has no option: what chooses the weights to keep, the validation loss or, in runs of earlier versions, the
    accuracy and then the loss. With a few validation images the best accuracy is reached by chance, many times.
    """

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
    best_by: Literal["loss", "accuracy"] = "loss"

    @classmethod
    def upgraded(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored settings as they are named and meant today."""
        return {"best_by": "accuracy", **super(ClassifyOptions, cls).upgraded(stored)}


OPTIONS = ClassifyOptions
