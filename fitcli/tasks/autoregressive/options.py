"""Options of `fit train --task autoregressive`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from fitcli.runs.option import option, shared
from fitcli.runs.task_options import PresetDefaults, TaskOptions
from fitcli.tasks.preset_defaults import EARLIER_GENERATOR, GENERATORS
from fitcli.tasks.shared_options import LABEL_SMOOTHING, UNCONDITIONAL


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoregressiveOptions(TaskOptions):
    """Options of autoregressive models; the help text of each field explains it."""

    presets: ClassVar[Mapping[str, PresetDefaults]] = GENERATORS
    preset_group: ClassVar[str] = "fit.decoders"
    earlier: ClassVar[PresetDefaults] = EARLIER_GENERATOR
    next_command: ClassVar[str] = "fit generate --out FILE --checkpoint {run}"

    unconditional: bool = shared(UNCONDITIONAL)
    levels: int | None = option(
        None,
        "Levels per channel.",
        minimum=2,
        maximum=256,
        shown_default="256",
        more="Images with more than 8 bits need the option.",
    )
    order: Literal["raster", "snake"] = option(
        "raster", "Order of the patches.", more="In snake order every second row runs from right to left."
    )
    start: Literal["learned", "zero"] = option(
        "learned", "First token.", more="The first token of a sequence. A learned start has one token per class."
    )
    label_smoothing: float = shared(LABEL_SMOOTHING)

    @property
    def ignores_classes(self) -> bool:
        """Whether the classes of the data set are left out."""
        return self.unconditional


OPTIONS = AutoregressiveOptions
