"""The sampling loop, written once. Knows groups and patches, neither pixels nor where noise comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.diffusion.parameterization import Prediction, interpret, normalize_images
from fitcli.diffusion.samplers import DETERMINISTIC, Step, ddim
from fitcli.diffusion.schedules import Schedule, cosine
from models.config import ConfigError
from models.denoiser import FITDenoiser
from models.encoder import Features
from models.groups import Groups


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to sample.

    Attributes:
        steps: Evaluations of the network.
        schedule: Gamma at the times that are visited.
        sampler: One of `samplers.STEPS`.
        prediction: What the network predicts.
        clip: (least, greatest) value of the data; None without limits.
        guidance: Weight of what the condition adds (classifier-free guidance, arXiv:2207.12598, equation 6); 0 without.
        decay: Weight of older latents in self-conditioning, in [0, 1]; 0 carries on the latest alone.
        time_difference: Each step aims this many steps further than the next one starts (asymmetric time intervals,
            Chen et al. 2022, arXiv:2208.04202).
        normalize: Divide what the network sees by its standard deviation.
    """

    steps: int
    schedule: Schedule = cosine
    sampler: Step = ddim
    prediction: Prediction = "eps"
    clip: tuple[float, float] | None = (-1.0, 1.0)
    guidance: float = 0.0
    decay: float = 0.0
    time_difference: float = 0.0
    normalize: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"sampling takes at least 1 step, not {self.steps}")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"decay must lie in [0, 1], not {self.decay}")
        if self.time_difference < 0:
            raise ConfigError(f"time_difference must not be negative, not {self.time_difference}")

    def gammas(self, k: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Gamma before and after step `k`, as scalars of the dtype and on the device of `like`."""
        now = 1 - k / self.steps
        after = max(1 - (k + 1 + self.time_difference) / self.steps, 0.0)
        gammas = self.schedule(torch.tensor([now, after], dtype=torch.float32, device=like.device)).to(like.dtype)
        return gammas[0], gammas[1]


class Trace(NamedTuple):
    """What happened in one step.

    Attributes:
        step: Its number, from 0.
        gamma_now, gamma_next: Before and after it, scalars.
        output: Of the network with its condition, [g n p].
        unconditional: Of the network with a condition of zeros, [g n p]; None without guidance.
        latents: Of the conditional run, [g m d].
        data, noise: What follows about data and noise, [g n p].
        samples: After the step, [g n p].
    """

    step: int
    gamma_now: Tensor
    gamma_next: Tensor
    output: Tensor
    unconditional: Tensor | None
    latents: Tensor
    data: Tensor
    noise: Tensor
    samples: Tensor


@torch.no_grad()
def generate(
    model: FITDenoiser,
    sampling: Sampling,
    groups: Groups,
    initial: Tensor,
    condition: Tensor | None = None,
    step_noise: Callable[[int], Tensor] | None = None,
    callback: Callable[[Trace], None] | None = None,
) -> Tensor:
    """Sample images, starting from noise (RIN, arXiv:2212.11972, section 3.3).

    Args:
        model: Predicts from noisy patches, as `sampling.prediction` says.
        sampling: How.
        groups: Of all images.
        initial: Standard normal noise [g n p].
        condition: Conditioning tokens [b s width].
        step_noise: Standard normal noise [g n p] of step k. Called once per step, in order, where the
            sampler draws noise.
        callback: Receives the trace of every step.

    Returns:
        The data of the last prediction, [g n p].

    Raises:
        ValueError: Guidance without a condition, or a sampler that draws noise without `step_noise`.
    """
    if sampling.guidance and condition is None:
        raise ValueError(f"guidance {sampling.guidance} needs a condition to guide towards")
    x = data = initial
    carried: Tensor | None = None
    latents: Tensor | None = None
    for k in range(sampling.steps):
        now, after = sampling.gammas(k, x)
        carried = _carry(carried, latents, sampling.decay)
        seen = normalize_images(x, groups) if sampling.normalize else x
        level = now.expand(groups.images)
        unconditional = None
        if sampling.guidance and condition is not None:
            unconditional = model(seen, groups, level, torch.zeros_like(condition), carried).tokens
        features: Features = model(seen, groups, level, condition, carried)
        latents = features.latents
        guided = _guide(features.tokens, unconditional, sampling.guidance)
        data, noise = interpret(guided, x, now, sampling.prediction, sampling.clip, truncate_noise=True)
        z = None if step_noise is None or sampling.sampler in DETERMINISTIC else step_noise(k)
        x = sampling.sampler(x, data, noise, now, after, z)
        if callback is not None:
            callback(Trace(k, now, after, features.tokens, unconditional, latents, data, noise, x))
    return data


def _carry(carried: Tensor | None, latents: Tensor | None, decay: float) -> Tensor | None:
    """The latents to start from: a moving average of earlier ones, that begins with zeros. None means zeros."""
    if latents is None:
        return None
    return (1 - decay) * latents if carried is None else decay * carried + (1 - decay) * latents


def _guide(conditional: Tensor, unconditional: Tensor | None, weight: float) -> Tensor:
    return conditional if unconditional is None else (1 + weight) * conditional - weight * unconditional
