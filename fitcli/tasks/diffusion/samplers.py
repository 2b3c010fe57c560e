"""Samplers: one step towards the data, as pure pointwise functions with the same signature.

    step(x, data, noise, gamma_now, gamma_next, z, previous) -> x

- x [...]: noisy values, with gamma_now before the step and gamma_next after it;
- data, noise [...]: the estimates of the network;
- z [...]: fresh standard normal noise, which deterministic samplers ignore;
- previous: the step before, for multistep samplers; None in the first step.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fitcli.tasks.diffusion.schedules import SMALLEST
from models.checks import ConfigError


class PreviousStep(NamedTuple):
    """The step before: its estimate of the data [...], and its gamma_now, a scalar."""

    data: Tensor
    gamma: Tensor


class SamplerStep(Protocol):
    """The signature of a sampler; see the module."""

    def __call__(
        self,
        x: Tensor,
        data: Tensor,
        noise: Tensor,
        gamma_now: Tensor,
        gamma_next: Tensor,
        z: Tensor | None,
        previous: PreviousStep | None = None,
        /,
    ) -> Tensor: ...


def ddim(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    previous: PreviousStep | None = None,
) -> Tensor:
    """Take a deterministic step (DDIM, arXiv:2010.02502, equation 12 with sigma = 0)."""
    return gamma_next.sqrt() * data + (1 - gamma_next).sqrt() * noise


def ddpm_large(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    previous: PreviousStep | None = None,
) -> Tensor:
    """Take an ancestral step with variance beta (DDPM, arXiv:2006.11239, algorithm 2; section 3.2, first choice)."""
    alpha = _alpha(gamma_now, gamma_next)
    return _ancestral(x, noise, alpha, gamma_now, 1 - alpha, z)


def ddpm_small(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    previous: PreviousStep | None = None,
) -> Tensor:
    """Take an ancestral step with the variance of the posterior (DDPM, arXiv:2006.11239, algorithm 2; equation 7)."""
    alpha = _alpha(gamma_now, gamma_next)
    variance = (1 - gamma_next) / (1 - gamma_now).clamp(min=SMALLEST) * (1 - alpha)
    return _ancestral(x, noise, alpha, gamma_now, variance, z)


def dpm(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    previous: PreviousStep | None = None,
) -> Tensor:
    """Take a deterministic step of second order: DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2).

    The first step, and a step that leaves no noise, are of first order: DDIM.
    """
    if previous is None:
        return ddim(x, data, noise, gamma_now, gamma_next, z)
    before, now, after = (_half_log_snr(gamma) for gamma in (previous.gamma, gamma_now, gamma_next))
    h = after - now
    weight = torch.where(gamma_next < 1, h / (2 * (now - before)), 0.0)  # 1 / (2 r)
    # sigma_next / sigma_now x - alpha_next (exp(-h) - 1) D with D = data + weight (data - previous.data).
    shrink = ((1 - gamma_next) / (1 - gamma_now).clamp(min=SMALLEST)).sqrt()
    gain = gamma_next.sqrt() - shrink * gamma_now.sqrt()
    return shrink * x + gain * ((1 + weight) * data - weight * previous.data)


STEPS: dict[str, SamplerStep] = {
    "ddim": ddim,
    "dpm": dpm,
    "ddpm": ddpm_large,
    "ddpm@large": ddpm_large,
    "ddpm@small": ddpm_small,
}
"""The samplers by name."""

DETERMINISTIC: frozenset[SamplerStep] = frozenset({ddim, dpm})
"""Samplers that need no fresh noise."""

MULTISTEP: frozenset[SamplerStep] = frozenset({dpm})
"""Samplers that need the step before."""


def find_step(name: str) -> SamplerStep:
    """Return the sampler of this name.

    Raises:
        ConfigError: No sampler has this name.
    """
    if name not in STEPS:
        raise ConfigError(f"unknown sampler {name!r}: use one of {', '.join(STEPS)}")
    return STEPS[name]


def _half_log_snr(gamma: Tensor) -> Tensor:
    """Return log(alpha / sigma), lambda in arXiv:2211.01095."""
    return (gamma.clamp(min=SMALLEST) / (1 - gamma).clamp(min=SMALLEST)).log() / 2


def _alpha(gamma_now: Tensor, gamma_next: Tensor) -> Tensor:
    """Return gamma_now / gamma_next, the share of the signal that one noising step keeps."""
    return (gamma_now.clamp(min=SMALLEST).log() - gamma_next.clamp(min=SMALLEST).log()).exp().clamp(0.0, 1.0)


def _ancestral(
    x: Tensor, noise: Tensor, alpha: Tensor, gamma_now: Tensor, variance: Tensor, z: Tensor | None
) -> Tensor:
    if z is None:
        raise ValueError("an ancestral sampler needs noise in every step")
    mean = (x - (1 - alpha) / (1 - gamma_now).clamp(min=SMALLEST).sqrt() * noise) / alpha.sqrt()
    return mean + variance.sqrt() * z
