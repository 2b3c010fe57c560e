"""What a diffusion model was trained on and how: all that sampling has to know. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from models.checks import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionConfig:
    """The diffusion around a denoiser.

    Attributes:
        patch: Pixels per side of a patch.
        size: (height, width) in pixels that the model was trained at: of windows, or the median of whole images.
        schedule: A name that `schedules.parse_schedule` understands.
        prediction: What the network predicts: the noise ("eps"), the data ("x") or the velocity ("v").
        scale: Pixels in [0, 1] become data in [-scale, scale] (Chen 2023, arXiv:2301.10972).
        shift: Added to the logarithm of the signal-to-noise ratio of the schedule; negative values are noisier
            (Hoogeboom et al. 2023, arXiv:2301.11093, equation 3); see `shift_for`.
        clip: Whether sampling keeps predicted data in [-scale, scale].
        self_condition_rate: Share of the training images that started from the latents of a first run; 0 for a model
            without self-conditioning.
        class_dropout: Share of the training images whose class was withheld, for guidance.
    """

    patch: int
    size: tuple[int, int]
    schedule: str = "cosine"
    prediction: Literal["eps", "x", "v"] = "v"
    scale: float = 1.0
    shift: float = 0.0
    clip: bool = True
    self_condition_rate: float = 0.9
    class_dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(_is_side(side) for side in (self.patch, *self.size)):
            raise ConfigError(f"patches of {self.patch} pixels in images of {self.size} are none")
        if self.prediction not in ("eps", "x", "v"):
            raise ConfigError(f"a network predicts eps, x or v, not {self.prediction!r}")
        if not isinstance(self.schedule, str) or not isinstance(self.clip, bool):
            raise ConfigError(f"schedule {self.schedule!r} is no name, or clip {self.clip!r} neither true nor false")
        if not 0 < self.scale < math.inf:
            raise ConfigError(f"scale must be positive, not {self.scale}")
        if not -LARGEST_SHIFT <= self.shift <= LARGEST_SHIFT:
            raise ConfigError(f"shift must lie within {LARGEST_SHIFT} of 0, not {self.shift}")
        for name in ("self_condition_rate", "class_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in [0, 1], not {getattr(self, name)}")


LARGEST_SIDE = 2**31 - 1
"""Of an image in pixels."""

LARGEST_SHIFT = 20.0
"""The shift for images of more than a million pixels per side."""

SMALL_SIDE = 64
"""Images up to this many pixels per side need no shift (arXiv:2301.11093, section 2.1)."""


def shift_for(size: tuple[int, int]) -> float:
    """The shift for images of (height, width) pixels: 2 log(64 / side), of the geometric mean of the sides.

    The more pixels show the same thing, the more noise it takes to hide it (Hoogeboom et al. 2023, arXiv:2301.11093,
    equation 3). Never above 0: smaller images keep the schedule as it is.
    """
    return min(0.0, math.log(SMALL_SIDE**2 / (size[0] * size[1])))


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE
