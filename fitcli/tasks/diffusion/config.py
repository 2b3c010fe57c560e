"""The part of config.json that belongs to diffusion models. Never imports torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from fitcli.errors import CheckpointError
from fitcli.runs.config import Agreement, ModelConfig, RunConfig, TaskDetails, with_tuples
from models.checks import ConfigError
from models.config import DenoiserConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionConfig(TaskDetails):
    """The diffusion around a denoiser.

    Attributes:
        patch: Side of a patch, in pixels.
        size: (height, width) of the training images, in pixels: of windows, or the median of whole images.
        schedule: Name of a noise schedule, see `schedules.parse_schedule`.
        prediction: Output of the network: the noise ("eps"), the data ("x") or the velocity ("v").
        scale: Pixels in [0, 1] become data in [-scale, scale] (Chen 2023, arXiv:2301.10972).
        shift: Summand of the logarithm of the signal-to-noise ratio of the schedule; negative values are noisier
            (Hoogeboom et al. 2023, arXiv:2301.11093, equation 3); see `shift_for`.
        clip: Whether sampling keeps predicted data in [-scale, scale].
        self_condition_rate: Share of the training images that start from the latents of a first pass; 0 for a model
            without self-conditioning.
        class_dropout: Share of the training images whose class is withheld, for guidance.
    """

    task: ClassVar[str] = "diffusion"
    model_type: ClassVar[type[ModelConfig]] = DenoiserConfig

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
            raise ConfigError(f"patch and size must be 1 ... {LARGEST_SIDE} pixels, not {self.patch} and {self.size}")
        if self.prediction not in ("eps", "x", "v"):
            raise ConfigError(f"a network predicts eps, x or v, not {self.prediction!r}")
        if not isinstance(self.schedule, str) or not isinstance(self.clip, bool):
            raise ConfigError(f"schedule must be text and clip true or false, not {self.schedule!r} and {self.clip!r}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ConfigError(f"scale must be positive, not {self.scale}")
        if not -LARGEST_SHIFT <= self.shift <= LARGEST_SHIFT:
            raise ConfigError(f"shift must lie within {LARGEST_SHIFT} of 0, not {self.shift}")
        for name in ("self_condition_rate", "class_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in [0, 1], not {getattr(self, name)}")

    @property
    def trained_size(self) -> tuple[int, int]:
        """(height, width) of the training images, in pixels."""
        return self.size

    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config that have to be equal."""
        model, values = config.model, self.patch**2 * config.preprocessing.channels
        assert isinstance(model, DenoiserConfig)
        return [
            Agreement("class names", len(config.classes), "condition values", model.condition_width or 0),
            Agreement("values of a patch", values, "values", model.values),
            Agreement("values of a patch", values, "predicted values", model.out_values),
        ]

    def identity(self) -> str:
        """Return the text of this part in the hash of a model."""
        return f"diffusion={self!r}, sequence=None, tasks=()"

    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""
        return {"diffusion": dataclasses.asdict(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`."""
        return cls(**with_tuples(document["diffusion"]))


LARGEST_SIDE = 2**31 - 1
"""Largest side of an image, in pixels."""

LARGEST_SHIFT = 20.0
"""Largest absolute shift: that of images of more than a million pixels per side."""

SMALL_SIDE = 64
"""Images up to this many pixels per side need no shift (arXiv:2301.11093, section 2.1)."""


def shift_for(size: tuple[int, int]) -> float:
    """Return the shift for images of (height, width) pixels: 2 log(64 / side), side the geometric mean of the sides.

    A larger image shows the same thing with more pixels, so it takes more noise to hide it (Hoogeboom et al. 2023,
    arXiv:2301.11093, equation 3). The shift is never above 0: smaller images keep the schedule.
    """
    return min(0.0, math.log(SMALL_SIDE**2 / (size[0] * size[1])))


def diffusion_of(config: RunConfig) -> DiffusionConfig:
    """Return the diffusion of a run.

    Raises:
        CheckpointError: The run is of another task.
    """
    if not isinstance(config.details, DiffusionConfig):
        raise CheckpointError(f"a run of task {config.task!r} has no diffusion; give one of --task diffusion")
    return config.details


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_SIDE
