"""The diffusion loss with latent self-conditioning (RIN, arXiv:2212.11972, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fitcli.tasks.diffusion.config import DiffusionConfig
from fitcli.tasks.diffusion.parameterization import (
    DenoisingEstimate,
    PredictionKind,
    add_noise,
    interpret,
    normalize_images,
    per_group,
)
from fitcli.tasks.diffusion.schedules import SMALLEST, Schedule, cosine, parse_schedule, shifted
from models.checks import ConfigError
from models.denoiser import FITDenoiser
from models.groups import Groups

LossWeighting = Literal["none", "min-snr", "sigmoid"]
"""Weights of the noise levels, see `DiffusionLoss.weight`."""

MOST_SNR = 5.0
"""Signal-to-noise ratio above which errors of the data weigh no more by "min-snr": the gamma of arXiv:2303.09556."""

SIGMOID_SNR = math.exp(2)
"""Ratio above which they hardly weigh more by "sigmoid": that of the middle of sigmoid(2 - log SNR)."""


class DiffusionBatch(NamedTuple):
    """Images and all random numbers of one training step.

    Attributes:
        data: Patches [g n p] in [-scale, scale], see `parameterization.to_data`.
        groups: All groups of the batch.
        noise: Standard normal noise [g n p].
        time: Time of each image, [b], in [0, 1].
        condition: Conditioning tokens [b s width]; None for an unconditional model.
        keep: Uniform random number of each image, [b], in [0, 1), which decides by masking whether it is
            self-conditioned; None without masking.
    """

    data: Tensor
    groups: Groups
    noise: Tensor
    time: Tensor
    condition: Tensor | None = None
    keep: Tensor | None = None


class LossDetails(NamedTuple):
    """Intermediate results of the loss: the noisy patches, and the estimates of data and noise, all [g n p]."""

    noisy: Tensor
    data: Tensor
    noise: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionLoss:
    """Mean squared error of the predicted noise (DDPM, arXiv:2006.11239, equation 14), data or velocity.

    Attributes:
        schedule: Noise schedule.
        prediction: Output of the network.
        loss: Compared quantity: the noise ("eps"), the data ("x") or the velocity ("v").
        weighting: Weights of the noise levels, see `weight`.
        clip: (least, greatest) value of the predicted data; None for no clipping.
        scale: Scale of the data. Errors of the data are divided by it.
        self_condition_rate: Share of the images that start from the latents of a first prediction without gradients.
        by_masking: Whether the first prediction runs for all images, and random ones keep its latents; otherwise it
            runs for the first images of the batch only.
        normalize: Whether to divide the input of the network by its standard deviation.

    Raises:
        ConfigError: A value is impossible.
    """

    schedule: Schedule = cosine
    prediction: PredictionKind = "eps"
    loss: Literal["eps", "x", "v"] = "eps"
    weighting: LossWeighting = "none"
    clip: tuple[float, float] | None = (-1.0, 1.0)
    scale: float = 1.0
    self_condition_rate: float = 0.9
    by_masking: bool = False
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.loss not in ("eps", "x", "v"):
            raise ConfigError(f"the loss compares eps, x or v, not {self.loss!r}")
        if self.weighting not in ("none", "min-snr", "sigmoid"):
            raise ConfigError(f"noise levels are weighted by none, min-snr or sigmoid, not {self.weighting!r}")
        if not 0 <= self.self_condition_rate <= 1:
            raise ConfigError(f"self_condition_rate must lie in [0, 1], not {self.self_condition_rate}")
        if not self.scale > 0:
            raise ConfigError(f"scale must be positive, not {self.scale}")

    def __call__(self, model: FITDenoiser, batch: DiffusionBatch) -> tuple[Tensor, LossDetails]:
        """Return the loss, a scalar, and its intermediate results. Padding does not count.

        Raises:
            ValueError: Self-conditioning by masking lacks `batch.keep`.
        """
        gamma = self.schedule(batch.time)  # [b]
        spread = per_group(gamma, batch.groups)  # [g 1 1]
        noisy = add_noise(batch.data, batch.noise, spread)
        seen = normalize_images(noisy, batch.groups) if self.normalize else noisy
        previous = self._first_latents(model, seen, gamma, batch) if model.config.self_condition else None
        output = model(seen, batch.groups, gamma, batch.condition, previous).tokens
        error, estimate = self.error(output, noisy, batch.data, batch.noise, spread)
        return _mean_square(error, batch.groups), LossDetails(noisy, estimate.data, estimate.noise)

    def error(
        self, output: Tensor, noisy: Tensor, data: Tensor, noise: Tensor, gamma: Tensor
    ) -> tuple[Tensor, DenoisingEstimate]:
        """Return the error of a slice of the groups before it is squared, and the estimates; all [part n p].

        Args:
            output: Output of the network, [part n p].
            noisy: Input of the network before any normalisation, [part n p].
            data, noise: The data and the noise in `noisy`, [part n p].
            gamma: Gamma of each group, [part 1 1].
        """
        estimate = interpret(output, noisy, gamma, self.prediction, self.clip)
        match self.loss:
            case "eps":
                error = noise - estimate.noise
            case "x":
                error = (data - estimate.data) / self.scale
            case "v":
                # The velocity is sqrt(gamma) noise - sqrt(1 - gamma) data (arXiv:2202.00512, appendix D).
                error = gamma.sqrt() * (noise - estimate.noise) - (1 - gamma).sqrt() * (data - estimate.data)
        return error if self.weighting == "none" else error * self.weight(gamma).sqrt(), estimate

    def weight(self, gamma: Tensor) -> Tensor:
        """Return the weight of the squared error of the compared quantity at each gamma.

        By "none", it is 1. With r = gamma / (1 - gamma), the signal-to-noise ratio, a squared error of the data weighs
        min(r, 5) by "min-snr" (Hang et al. 2023, arXiv:2303.09556) and r sigmoid(2 - log r) by "sigmoid" (Kingma and
        Gao 2023, arXiv:2303.00848, without the density of the times). The squared error of the noise is r times that of
        the data, and that of the velocity r + 1 times. So they weigh 1 / r and 1 / (r + 1) times as much.
        """
        left = 1 - gamma
        match self.weighting:
            case "none":
                return torch.ones_like(gamma)
            case "min-snr":
                weight = (gamma / left.clamp_min(SMALLEST)).clamp_max(MOST_SNR)
            case "sigmoid":
                weight = SIGMOID_SNR * gamma / (SIGMOID_SNR * left + gamma)
        match self.loss:
            case "x":
                return weight
            case "eps":
                # At gamma 0 the ratio of both is 1: the weight is gamma, to first order.
                return torch.where(gamma < SMALLEST, left, weight * left / gamma.clamp_min(SMALLEST))
            case "v":
                return weight * left

    @torch.no_grad()
    def _first_latents(self, model: FITDenoiser, seen: Tensor, gamma: Tensor, batch: DiffusionBatch) -> Tensor | None:
        """Return the latents [g m d] of a first prediction, zeros for images that are not self-conditioned.

        None if no image is self-conditioned.
        """
        groups, condition = batch.groups, batch.condition
        if self.by_masking:
            latents: Tensor = model(seen, groups, gamma, condition).latents
            return latents * per_group(self._conditioned(batch.keep), groups).to(latents.dtype)
        # The reference rounds this product in float32.
        images = int(torch.tensor(self.self_condition_rate, dtype=torch.float32) * groups.images)
        if images == 0:
            return None
        first = first_images(groups, images)
        count = len(first.number)
        latents = model(seen[:count], first, gamma[:images], None if condition is None else condition[:images]).latents
        return torch.cat([latents, latents.new_zeros(len(groups.number) - count, *latents.shape[1:])])

    def _conditioned(self, keep: Tensor | None) -> Tensor:
        """Return whether each image is self-conditioned, [b] bool."""
        if keep is None:
            raise ValueError("self-conditioning by masking needs a uniform number per image")
        return torch.ones_like(keep) if self.self_condition_rate == 1 else keep > 1 - self.self_condition_rate


def diffusion_loss(config: DiffusionConfig) -> DiffusionLoss:
    """Return the loss of a run, without weights of noise levels. It does not clip, because that has no gradient."""
    return DiffusionLoss(
        schedule=shifted(parse_schedule(config.schedule), config.shift),
        prediction=config.prediction,
        loss=config.prediction,
        clip=None,
        scale=config.scale,
        self_condition_rate=config.self_condition_rate,
        by_masking=True,
    )


def first_images(groups: Groups, images: int) -> Groups:
    """Return the groups of the first `images` images of a batch."""
    end = images * groups.longest
    count = end if groups.slot is None else int((groups.slot < end).sum())
    return Groups(
        coordinates=groups.coordinates[:count],
        number=groups.number[:count],
        mask=None if groups.mask is None else groups.mask[:count],
        slot=None if groups.slot is None else groups.slot[:count],
        images=images,
        longest=groups.longest,
    )


def _mean_square(error: Tensor, groups: Groups) -> Tensor:
    """Return the mean square over the values [g n p] of patches that are no padding."""
    if groups.mask is None:
        return error.square().mean()
    # The mask comes before the square: after it, a NaN in the padding would still have a NaN gradient.
    error = error.masked_fill(~groups.mask[..., None].to(error.device), 0)
    return error.square().sum() / (groups.count_real_tokens(error.shape[1]) * error.shape[-1])
