"""One step towards the data, as pure pointwise functions of one signature:

    step(x, data, noise, gamma_now, gamma_next, z) -> x

x [...] is noisy with gamma_now, data and noise [...] are what the network says about it, and the result is noisy with
gamma_next. z [...] is fresh standard normal noise; deterministic samplers ignore it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.diffusion.schedules import SMALLEST
from models.config import ConfigError

Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]


def ddim(x: Tensor, data: Tensor, noise: Tensor, gamma_now: Tensor, gamma_next: Tensor, z: Tensor | None) -> Tensor:
    """Deterministic (DDIM, arXiv:2010.02502, equation 12 with sigma = 0)."""
    return gamma_next.sqrt() * data + (1 - gamma_next).sqrt() * noise


def ddpm_large(
    x: Tensor, data: Tensor, noise: Tensor, gamma_now: Tensor, gamma_next: Tensor, z: Tensor | None
) -> Tensor:
    """Ancestral, with variance beta (DDPM, arXiv:2006.11239, algorithm 2; section 3.2, first choice)."""
    alpha = _alpha(gamma_now, gamma_next)
    return _ancestral(x, noise, alpha, gamma_now, 1 - alpha, z)


def ddpm_small(
    x: Tensor, data: Tensor, noise: Tensor, gamma_now: Tensor, gamma_next: Tensor, z: Tensor | None
) -> Tensor:
    """Ancestral, with the variance of the posterior (DDPM, arXiv:2006.11239, algorithm 2; equation 7)."""
    alpha = _alpha(gamma_now, gamma_next)
    variance = (1 - gamma_next) / (1 - gamma_now).clamp(min=SMALLEST) * (1 - alpha)
    return _ancestral(x, noise, alpha, gamma_now, variance, z)


STEPS: dict[str, Step] = {"ddim": ddim, "ddpm": ddpm_large, "ddpm@large": ddpm_large, "ddpm@small": ddpm_small}
"""The samplers by name."""

DETERMINISTIC: frozenset[Step] = frozenset({ddim})
"""The samplers that need no noise."""


def find_step(name: str) -> Step:
    """The sampler of this name.

    Raises:
        ConfigError: There is none.
    """
    if name not in STEPS:
        raise ConfigError(f"unknown sampler {name!r}: use one of {', '.join(STEPS)}")
    return STEPS[name]


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
