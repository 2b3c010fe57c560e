"""The part of config.json that belongs to diffusion models. Never imports torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from fitcli.errors import CheckpointError
from fitcli.runs.config import Agreement, ModelConfig, RunConfig, TaskDetails, with_tuples
from fitcli.tasks.diffusion.options import LARGEST_FACTOR
from models.checks import ConfigError
from models.config import DenoiserConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Enlarging:
    """How a run enlarges images: its network sees a smaller version of the image beside the noisy patches.

    The diffused data are the difference between the image and the smaller version, enlarged by cubic convolution.

    Attributes:
        factor: Side of the image divided by that of the smaller version.
        noise: Largest standard deviation of the noise on the smaller version in training, as a share of the range from
            black to white (noise conditioning augmentation, Ho et al. 2021, arXiv:2106.15282, section 4).
        deviation: Standard deviation of the difference in the training images, where the range of the data is [-1, 1].
    """

    factor: int
    noise: float = 0.0
    deviation: float = 0.5

    def __post_init__(self) -> None:
        if not isinstance(self.factor, int) or isinstance(self.factor, bool) or not 2 <= self.factor <= LARGEST_FACTOR:
            raise ConfigError(f"an enlarging factor must be 2 ... {LARGEST_FACTOR}, not {self.factor!r}")
        if not 0 <= self.noise <= 1:
            raise ConfigError(f"the noise on smaller versions must lie in [0, 1], not {self.noise}")
        if not (math.isfinite(self.deviation) and self.deviation > 0):
            raise ConfigError(f"the deviation from smaller versions must be positive, not {self.deviation}")

    @property
    def unit(self) -> float:
        """Difference that the diffusion sees as 1: its data then have a standard deviation of 1/2, as images do."""
        return 2 * self.deviation

    def level(self, noise: float) -> float:
        """Return the feature that tells the network the noise on the smaller version: a share of the largest."""
        return noise / self.noise if self.noise else 0.0


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
        enlarging: How the run enlarges images; None for a run that generates them from noise alone.
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
    # Not in the representation, which is part of the hash of a model: see `identity`.
    enlarging: Enlarging | None = field(default=None, repr=False)

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
    def limits(self) -> tuple[float, float] | None:
        """(least, greatest) value of predicted data in sampling; None for no clipping."""
        # No image differs more than this from its smaller version.
        most = self.scale if self.enlarging is None else 2 * self.scale / self.enlarging.unit
        return (-most, most) if self.clip else None

    @property
    def trained_size(self) -> tuple[int, int]:
        """(height, width) of the training images, in pixels."""
        return self.size

    def agreements(self, config: RunConfig) -> list[Agreement]:
        """Return the numbers of a config that have to be equal."""
        model, values = config.model, self.patch**2 * config.preprocessing.channels
        assert isinstance(model, DenoiserConfig)
        features = int(self.enlarging is not None)
        return [
            Agreement("class names", len(config.classes), "condition values", model.condition_width or 0),
            Agreement("values of a patch", values * (1 + features), "values", model.values),
            Agreement("features of the smaller version", features, "time_features", model.time_features),
            Agreement("values of a patch", values, "predicted values", model.out_values),
        ]

    def identity(self) -> str:
        """Return the text of this part in the hash of a model."""
        enlarging = "" if self.enlarging is None else f", enlarging={self.enlarging!r}"
        return f"diffusion={self!r}, sequence=None, tasks=(){enlarging}"

    def to_document(self) -> dict[str, Any]:
        """Return the entries that this part adds to `config.json`."""
        entries = dataclasses.asdict(self)
        if self.enlarging is None:
            del entries["enlarging"]
        return {"diffusion": entries}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild this part from the entries of `config.json`."""
        entries = with_tuples(document["diffusion"])
        if entries.get("enlarging") is not None:
            entries["enlarging"] = Enlarging(**entries["enlarging"])
        return cls(**entries)


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


def image_values(config: DenoiserConfig) -> int:
    """Return the values of the image in a patch: those of the input without those of a smaller version.

    The network of an enlarging run has one feature, the noise on the smaller version, and takes twice the values.
    """
    return config.values // (1 + config.time_features)


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
