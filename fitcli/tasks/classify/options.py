"""Options of `fit train --task classify`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from fitcli.runs.option import OptionError, option, shared
from fitcli.runs.task_options import PresetDefaults
from fitcli.tasks.preset_defaults import CLASSIFIERS, EARLIER_CLASSIFIER
from fitcli.tasks.shared_options import DROP_PATH, LABEL_SMOOTHING, SHIFT_CANVAS, BackgroundOptions

USUAL_LOSS = "cross-entropy"
"""Loss of a run without `--loss`."""

BestBy = Literal["loss", "accuracy"]
"""What chooses the weights to keep: the validation loss; or the accuracy, then the loss."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifyOptions(BackgroundOptions):
    """Options of classifiers; the help text of each field explains it.

    `best_by` has no option. Runs of earlier versions keep the weights of the best accuracy, which many epochs reach by
    chance if there are few validation images.
    """

    presets: ClassVar[Mapping[str, PresetDefaults]] = CLASSIFIERS
    earlier: ClassVar[PresetDefaults] = EARLIER_CLASSIFIER
    next_command: ClassVar[str] = "fit classify IMAGE --checkpoint {run}"

    balance: bool = option(
        False, "Weight classes by inverse frequency.", more="Every class then has the same weight in the loss."
    )
    shift_canvas: int = shared(SHIFT_CANVAS)
    token_dropout: float = option(
        0.0,
        "Share of patches to hide.",
        minimum=0,
        below=1,
        more="Hidden patches are left out, like those beyond the edge of the image.",
    )
    drop_path: float = shared(DROP_PATH)
    label_smoothing: float = shared(LABEL_SMOOTHING)
    loss: str = option(
        USUAL_LOSS,
        "Loss by name.",
        more="cross-entropy, or one that a package adds (docs/library.md), for data sets with one class per image. "
        "Validation reports the cross-entropy.",
    )
    best_by: BestBy = "loss"

    def __post_init__(self) -> None:
        BackgroundOptions.__post_init__(self)
        if self.best_by not in get_args(BestBy):
            raise OptionError(
                "best_by", f"must be {' or '.join(get_args(BestBy))}, not {self.best_by!r:.80}", "best_by"
            )

    @classmethod
    def upgraded(cls, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored settings as they are named and meant today."""
        return {"best_by": "accuracy", **BackgroundOptions.upgraded(stored)}


OPTIONS = ClassifyOptions
