"""Options of `fit train --task classify`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

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
        0.0,
        "Patch dropout.",
        minimum=0,
        below=1,
        more="Share of patches to hide. Hidden patches are treated as padding.",
    )
    drop_path: float = shared(DROP_PATH)
    label_smoothing: float = shared(LABEL_SMOOTHING)
    larger_images: int = option(
        16,
        "Imitated enlargement.",
        minimum=1,
        maximum=1000,
        metavar="N",
        more="For half of the loss, the pool sees an image as if it were up to N times as long, with more of what has "
        "little weight. So the model stays right on images that are larger than those of training. 1: never.",
    )

    @classmethod
    def upgraded(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        return {"larger_images": 1, **super(ClassifyOptions, cls).upgraded(stored)}


OPTIONS = ClassifyOptions
