"""The diffusion objective with latent self-conditioning (RIN, arXiv:2212.11972, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fitcli.tasks.diffusion.parameterization import (
    DenoisingEstimate,
    PredictionKind,
    add_noise,
    interpret,
    normalize_images,
    per_group,
)
from fitcli.tasks.diffusion.schedules import Schedule, cosine
from models.checks import ConfigError
from models.denoiser import FITDenoiser
from models.groups import Groups


class DiffusionBatch(NamedTuple):
    """Images and all the randomness of one training step.

    Attributes:
        data: Patches [g n p] in [-scale, scale], as `parameterization.to_data` makes them.
        groups: Of all images.
        noise: Standard normal, [g n p].
        time: [b], in [0, 1].
        condition: Conditioning tokens [b s width]; None without.
        keep: [b], uniform in [0, 1): decides which images are self-conditioned where that is by masking; else None.
    """

    data: Tensor
    groups: Groups
    noise: Tensor
    time: Tensor
    condition: Tensor | None = None
    keep: Tensor | None = None


class Details(NamedTuple):
    """What led to the loss: the noisy patches, and what the network says about data and noise, all [g n p]."""

    noisy: Tensor
    data: Tensor
    noise: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffusionObjective:
    """Mean squared error of the predicted noise (DDPM, arXiv:2006.11239, equation 14) or data.

    Attributes:
        schedule: Gamma at the times of the batch.
        prediction: What the network predicts.
        loss: What is compared: the noise ("eps"), the data ("x") or the velocity ("v").
        clip: (least, greatest) value of the predicted data; None without limits.
        scale: Of the data; the data loss is in units of it.
        self_condition_rate: Share of the images that start from the latents of a first, gradient-free run.
        by_masking: Run all images first and keep the latents of random ones, instead of those of the first images only.
        normalize: Divide what the network sees by its standard deviation.
    """

    schedule: Schedule = cosine
    prediction: PredictionKind = "eps"
    loss: Literal["eps", "x", "v"] = "eps"
    clip: tuple[float, float] | None = (-1.0, 1.0)
    scale: float = 1.0
    self_condition_rate: float = 0.9
    by_masking: bool = False
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.loss not in ("eps", "x", "v"):
            raise ConfigError(f"the loss compares eps, x or v, not {self.loss!r}")
        if not 0 <= self.self_condition_rate <= 1:
            raise ConfigError(f"self_condition_rate must lie in [0, 1], not {self.self_condition_rate}")
        if not self.scale > 0:
            raise ConfigError(f"scale must be positive, not {self.scale}")

    def __call__(self, model: FITDenoiser, batch: DiffusionBatch) -> tuple[Tensor, Details]:
        """The loss, a scalar, and what led to it. Padded patches do not count.

        Raises:
            ValueError: Self-conditioning by masking without `batch.keep`.
        """
        gamma = self.schedule(batch.time)  # [b]
        spread = per_group(gamma, batch.groups)  # [g 1 1]
        noisy = add_noise(batch.data, batch.noise, spread)
        seen = normalize_images(noisy, batch.groups) if self.normalize else noisy
        previous = self._first_latents(model, seen, gamma, batch) if model.config.self_condition else None
        output = model(seen, batch.groups, gamma, batch.condition, previous).tokens
        error, found = self.error(output, noisy, batch.data, batch.noise, spread)
        return _mean_square(error, batch.groups), Details(noisy, found.data, found.noise)

    def error(
        self, output: Tensor, noisy: Tensor, data: Tensor, noise: Tensor, gamma: Tensor
    ) -> tuple[Tensor, DenoisingEstimate]:
        """What is squared, of any groups, and what the network says about data and noise; all [part n p].

        Args:
            output: Of the network, [part n p].
            noisy, data, noise: What it has seen, before any normalisation, and what that was made of, [part n p].
            gamma: Of each group, [part 1 1].
        """
        found = interpret(output, noisy, gamma, self.prediction, self.clip)
        match self.loss:
            case "eps":
                return noise - found.noise, found
            case "x":
                return (data - found.data) / self.scale, found
            case "v":
                # The velocity is sqrt(gamma) noise - sqrt(1 - gamma) data (arXiv:2202.00512, appendix D).
                return gamma.sqrt() * (noise - found.noise) - (1 - gamma).sqrt() * (data - found.data), found

    @torch.no_grad()
    def _first_latents(self, model: FITDenoiser, seen: Tensor, gamma: Tensor, batch: DiffusionBatch) -> Tensor | None:
        """Latents [g m d] of a run without self-conditioning, zeros for the images that do without; None: all do."""
        groups, condition = batch.groups, batch.condition
        if self.by_masking:
            latents: Tensor = model(seen, groups, gamma, condition).latents
            return latents * per_group(self._kept(batch.keep), groups).to(latents.dtype)
        # In float32, as the reference rounds.
        images = int(torch.tensor(self.self_condition_rate, dtype=torch.float32) * groups.images)
        if images == 0:
            return None
        first = first_images(groups, images)
        count = len(first.number)
        latents = model(seen[:count], first, gamma[:images], None if condition is None else condition[:images]).latents
        return torch.cat([latents, latents.new_zeros(len(groups.number) - count, *latents.shape[1:])])

    def _kept(self, keep: Tensor | None) -> Tensor:
        if keep is None:
            raise ValueError("self-conditioning by masking needs a uniform number per image")
        return torch.ones_like(keep) if self.self_condition_rate == 1 else keep > 1 - self.self_condition_rate


def first_images(groups: Groups, images: int) -> Groups:
    """The groups of the first `images` images; they come first in the list."""
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
    """Mean over all values [g n p] of real patches."""
    if groups.mask is None:
        return error.square().mean()
    # Before the square: the gradient of a padded NaN would be NaN even where its square is masked.
    error = error.masked_fill(~groups.mask[..., None], 0)
    return error.square().sum() / (groups.mask.sum() * error.shape[-1])
