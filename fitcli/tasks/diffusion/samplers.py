"""One step towards the data, as pure pointwise functions of one signature:

    step(x, data, noise, gamma_now, gamma_next, z, earlier) -> x

x [...] is noisy with gamma_now, data and noise [...] are what the network says about it, and the result is noisy with
gamma_next. z [...] is fresh standard normal noise; deterministic samplers ignore it. `earlier` is what a multistep
sampler remembers of the step before, None in the first; the others ignore it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fitcli.tasks.diffusion.schedules import SMALLEST
from models.checks import ConfigError


class PreviousStep(NamedTuple):
    """The step before: what it said about the data [...], and its gamma_now, a scalar."""

    data: Tensor
    gamma: Tensor


class SamplerStep(Protocol):
    """The signature of a sampler, see above."""

    def __call__(
        self,
        x: Tensor,
        data: Tensor,
        noise: Tensor,
        gamma_now: Tensor,
        gamma_next: Tensor,
        z: Tensor | None,
        earlier: PreviousStep | None = None,
        /,
    ) -> Tensor: ...


def ddim(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    earlier: PreviousStep | None = None,
) -> Tensor:
    """Deterministic (DDIM, arXiv:2010.02502, equation 12 with sigma = 0)."""
    return gamma_next.sqrt() * data + (1 - gamma_next).sqrt() * noise


def ddpm_large(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    earlier: PreviousStep | None = None,
) -> Tensor:
    """Ancestral, with variance beta (DDPM, arXiv:2006.11239, algorithm 2; section 3.2, first choice)."""
    alpha = _alpha(gamma_now, gamma_next)
    return _ancestral(x, noise, alpha, gamma_now, 1 - alpha, z)


def ddpm_small(
    x: Tensor,
    data: Tensor,
    noise: Tensor,
    gamma_now: Tensor,
    gamma_next: Tensor,
    z: Tensor | None,
    earlier: PreviousStep | None = None,
) -> Tensor:
    """Ancestral, with the variance of the posterior (DDPM, arXiv:2006.11239, algorithm 2; equation 7)."""
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
    earlier: PreviousStep | None = None,
) -> Tensor:
    """Deterministic, of second order: DPM-Solver++(2M) (arXiv:2211.01095, algorithm 2).

    Of first order, which is DDIM, in the first step and where no noise is left after it.
    """
    if earlier is None:
        return ddim(x, data, noise, gamma_now, gamma_next, z)
    before, now, after = (_half_log_snr(gamma) for gamma in (earlier.gamma, gamma_now, gamma_next))
    h = after - now
    weight = torch.where(gamma_next < 1, h / (2 * (now - before)), 0.0)  # 1 / (2 r)
    # sigma_next / sigma_now x - alpha_next (exp(-h) - 1) D with D = data + weight (data - earlier.data).
    shrink = ((1 - gamma_next) / (1 - gamma_now).clamp(min=SMALLEST)).sqrt()
    gain = gamma_next.sqrt() - shrink * gamma_now.sqrt()
    return shrink * x + gain * ((1 + weight) * data - weight * earlier.data)


STEPS: dict[str, SamplerStep] = {
    "ddim": ddim,
    "dpm": dpm,
    "ddpm": ddpm_large,
    "ddpm@large": ddpm_large,
    "ddpm@small": ddpm_small,
}
"""The samplers by name."""

DETERMINISTIC: frozenset[SamplerStep] = frozenset({ddim, dpm})
"""The samplers that need no noise."""

MULTISTEP: frozenset[SamplerStep] = frozenset({dpm})
"""The samplers that remember the step before."""


def find_step(name: str) -> SamplerStep:
    """The sampler of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in STEPS:
        raise ConfigError(f"unknown sampler {name!r}: use one of {', '.join(STEPS)}")
    return STEPS[name]


def _half_log_snr(gamma: Tensor) -> Tensor:
    """log(alpha / sigma), lambda in arXiv:2211.01095."""
    return (gamma.clamp(min=SMALLEST) / (1 - gamma).clamp(min=SMALLEST)).log() / 2


def _alpha(gamma_now: Tensor, gamma_next: Tensor) -> Tensor:
    """The share of the signal that one step of noising keeps, gamma_now / gamma_next."""
    return (gamma_now.clamp(min=SMALLEST).log() - gamma_next.clamp(min=SMALLEST).log()).exp().clamp(0.0, 1.0)


def _ancestral(
    x: Tensor, noise: Tensor, alpha: Tensor, gamma_now: Tensor, variance: Tensor, z: Tensor | None
) -> Tensor:
    if z is None:
        raise ValueError("an ancestral sampler needs noise in every step")
    mean = (x - (1 - alpha) / (1 - gamma_now).clamp(min=SMALLEST).sqrt() * noise) / alpha.sqrt()
    return mean + variance.sqrt() * z
