"""Options of `fit generate` for runs of the task diffusion. Never imports torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fitcli.errors import FitError
from fitcli.images.window import Window
from fitcli.runs.option import check_options, option

CHAIN_NOISE = 0.02
"""Default of `--enlarge-noise` for images that another run generated, as a share of the range from black to white."""


def parse_window(text: str) -> Window:
    """Return the window of "top,left,height,width", in pixels.

    Raises:
        ValueError: The text is no such window.
    """
    match = re.fullmatch(r" *(\d+) *, *(\d+) *, *(\d+) *, *(\d+) *", text, flags=re.ASCII)
    if match is None or "0" in match.groups()[2:]:
        raise ValueError(f"{text!r} is no window; give TOP,LEFT,HEIGHT,WIDTH in pixels like 0,512,256,256")
    return Window(*map(int, match.groups()))


@dataclass(frozen=True, slots=True)
class GuidedTimes:
    """The diffusion times at which a prediction is guided, 0 (data) to 1 (noise), both included."""

    first: float
    last: float

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last <= 1:
            raise ValueError(f"times of guidance must be 0 <= first <= last <= 1, not {self.first:g},{self.last:g}")


def parse_times(text: str) -> GuidedTimes:
    """Return the times of "first,last".

    Raises:
        ValueError: The text has no two such times.
    """
    try:
        first, last = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"{text!r} is no interval; give FIRST,LAST between 0 and 1 like 0.2,0.8") from None
    return GuidedTimes(first, last)


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingOptions:
    """Options that the pixels depend on.

    Attributes:
        steps: Evaluations of the network; a stage that begins at an intermediate time takes its share of them.
        sampler: Name of a sampler, see `samplers.STEPS`.
        guidance: Weight of the difference that the label makes; 0 for no guidance.
        guidance_interval: Diffusion times at which predictions are guided (arXiv:2404.07724); None for all.
        strength: Time in (0, 1] to which an enlarged image is noised before it is denoised at the next size; 1 keeps
            nothing of it.
        one_pass: Whether to generate at the full size at once instead of coarse to fine.
        shift_grid: Whether to shift the groups by half a group in every other step, and to blend each step with the
            one before, so that borders of groups do not show; None for runs whose patches overlap.
        enlarge_noise: Standard deviation of the noise on an image that an enlarging run enlarges, as a share of the
            range from black to white; None for none on a file, and `CHAIN_NOISE` on what another run generated.
    """

    steps: int = option(50, "Evaluations of the network.", minimum=1)
    sampler: Literal["ddim", "dpm", "ddpm"] = option("ddim", "dpm takes the fewest steps, ddpm adds noise in each.")
    guidance: float = option(0.0, "Classifier-free guidance weight; 0: none.", minimum=0)
    guidance_interval: GuidedTimes | None = option(
        None,
        "Times of guidance: 0 image, 1 noise.",
        metavar="FIRST,LAST",
        parser=parse_times,
        shown_default="all",
    )
    strength: float = option(0.5, "Noise time at which each larger size starts.", above=0, maximum=1)
    one_pass: bool = option(False, "Generate at the full size at once, not coarse to fine.")
    shift_grid: bool | None = option(
        None,
        "Shift the groups in every other step: no seams.",
        negatable=True,
        shown_default="if patches overlap",
    )
    enlarge_noise: float | None = option(
        None,
        "Noise on what an enlarging run enlarges.",
        minimum=0,
        maximum=1,
        metavar="SHARE",
        shown_default=f"{CHAIN_NOISE}; 0 on files",
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.guidance_interval is not None and not self.guidance:
            raise FitError("--guidance-interval limits --guidance; give --guidance X too")


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionGenerateOptions(SamplingOptions):
    """All options of `fit generate` for diffusion models.

    Attributes:
        window: Part of `--image` to repaint; None to enlarge it, or without an image.
        preview: Picture to write every few steps; None for none.
    """

    window: Window | None = option(
        None, "Part of --image to repaint.", metavar="TOP,LEFT,HEIGHT,WIDTH", parser=parse_window
    )
    preview: Path | None = option(None, "Small .png or .jpg, every few steps.", metavar="FILE")


GENERATE_OPTIONS = DiffusionGenerateOptions
SAMPLING_OPTIONS = SamplingOptions
