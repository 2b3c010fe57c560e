"""Options of `fit train --task diffusion`. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from fitcli.runs.option import option, shared
from fitcli.runs.task_options import PresetDefaults
from fitcli.tasks.preset_defaults import EARLIER_GENERATOR, GENERATORS
from fitcli.tasks.shared_options import UNCONDITIONAL, BackgroundOptions

LARGEST_FACTOR = 16
"""Largest factor of an enlarging run; several runs in a row reach larger ones."""

ENLARGE_NOISE = 0.05
"""Default of `--enlarge-noise`, a share of the range of the pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionOptions(BackgroundOptions):
    """Options of diffusion models; the help text of each field explains it."""

    presets: ClassVar[Mapping[str, PresetDefaults]] = GENERATORS
    preset_group: ClassVar[str] = "fit.denoisers"
    earlier: ClassVar[PresetDefaults] = EARLIER_GENERATOR
    next_command: ClassVar[str] = "fit generate --out FILE --checkpoint {run}"

    unconditional: bool = shared(UNCONDITIONAL)
    prediction: Literal["eps", "x", "v"] = option(
        "v", "Output: noise, data, velocity.", more="Other quantities follow from it."
    )
    schedule: str = option(
        "cosine",
        "cosine, sigmoid, ...",
        more="Noise schedules: simple_linear, cosine or sigmoid; the last two also with @start,end,tau.",
    )
    shift: float | None = option(
        None,
        "Shift of log SNR.",
        shown_default="by size",
        more="The default is 2 log(64 / side) above 64 pixels per side (arXiv:2301.11093).",
    )
    scale: float = option(
        1.0,
        "Scale of the data.",
        more="Pixels become data in [-scale, scale]. A smaller scale makes the data noisier at each diffusion time "
        "(arXiv:2301.10972).",
    )
    self_condition_rate: float = option(
        0.9,
        "Share of self-conditioned images.",
        minimum=0,
        maximum=1,
        more="These start from the latents of a first pass.",
    )
    loss_weighting: Literal["none", "min-snr", "sigmoid"] = option(
        "none",
        "none, min-snr, sigmoid.",
        metavar="NAME",
        more="Weights of the noise levels. none weights the errors of --prediction equally at all times. min-snr "
        "counts errors of the data by the signal-to-noise ratio, at most 5 (arXiv:2303.09556); sigmoid grows smoothly "
        "up to about 7 (arXiv:2303.00848). The validation loss has no weights.",
    )
    class_dropout: float = option(
        0.1, "Share of images without class.", minimum=0, maximum=1, more="`fit generate --guidance` needs them."
    )
    enlarge: int | None = option(
        None,
        "Learn to enlarge N times.",
        minimum=2,
        maximum=LARGEST_FACTOR,
        more="The network sees a smaller version of the image, enlarged by cubic convolution, and learns what it "
        "lacks. `fit generate --image` and `--enlarge-with` use such a run.",
    )
    enlarge_noise: float = option(
        ENLARGE_NOISE,
        "Most noise on what is enlarged.",
        minimum=0,
        maximum=1,
        metavar="SHARE",
        more="With --enlarge, the smaller version gets noise of a standard deviation between 0 and this share of the "
        "range of the pixels (arXiv:2106.15282, section 4), so that the run can enlarge imperfect images.",
    )

    @property
    def ignores_classes(self) -> bool:
        """Whether the classes of the data set are left out."""
        return self.unconditional


OPTIONS = DiffusionOptions
