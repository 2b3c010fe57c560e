"""Noise schedules: pure functions from times, 0 (data) to 1 (noise), to gamma."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from models.checks import ConfigError

Schedule = Callable[[Tensor], Tensor]
"""Maps times [...] in [0, 1] to gamma [...] in [0, 1]."""

SMALLEST = 1e-9
"""Least gamma of most schedules, and least divisor in divisions by gamma and 1 - gamma, which then never give NaN."""


def cosine(t: Tensor) -> Tensor:
    """Return a squared cosine; small offsets keep it from 0 and 1 (Chen et al. 2022, arXiv:2208.04202; not clipped)."""
    return torch.cos((t + 0.0002) / (1 + 0.00025) * (math.pi / 2)) ** 2


def cosine_between(t: Tensor, start: float, end: float, tau: float) -> Tensor:
    """Return the part of a cosine between two angles, raised to 2 tau (Chen 2023, arXiv:2301.10972, algorithm 1).

    Args:
        t: Times.
        start, end: Angles as fractions of a right angle.
        tau: Larger values are noisier.
    """

    def curve(u: Tensor) -> Tensor:
        angle = torch.cos(u * (math.pi / 2))
        # The cosine of a right angle rounds to a tiny negative number, which has no fractional power.
        return torch.where(angle.abs() < 1e-6, 0.0, angle) ** (2 * tau)

    return _rescale(curve, t, start, end).clamp(SMALLEST, 1.0)


def sigmoid(t: Tensor, start: float, end: float, tau: float) -> Tensor:
    """Return the part of a sigmoid between two arguments (RIN, arXiv:2212.11972; arXiv:2301.10972, algorithm 1).

    Args:
        t: Times.
        start, end: Arguments of the sigmoid, before the division by `tau`.
        tau: Temperature.
    """
    return _rescale(lambda u: torch.sigmoid(u / tau), t, start, end).clamp(SMALLEST, 1.0)


def logarithmic(t: Tensor, start: float, end: float, reverse: bool) -> Tensor:
    """Return the part of a logarithm between two positive arguments, which `reverse` swaps (`log` in the reference)."""
    if reverse:
        start, end = end, start
    return _rescale(torch.log, t, start, end).clamp(0.0, 1.0)


def linear(t: Tensor) -> Tensor:
    """Return 1 - t (Chen 2023, arXiv:2301.10972, algorithm 1)."""
    return (1 - t).clamp(SMALLEST, 1.0)


def shifted(schedule: Schedule, shift: float) -> Schedule:
    """Return the schedule with `shift` added to its log signal-to-noise ratio (arXiv:2301.11093, equation 3).

    Gamma becomes gamma / (gamma + (1 - gamma) exp(-shift)). 0 and 1 stay.
    """
    if shift == 0:
        return schedule

    def shifted_schedule(t: Tensor) -> Tensor:
        gamma = schedule(t)
        return gamma / (gamma + (1 - gamma) * math.exp(-shift))

    return shifted_schedule


def parse_schedule(name: str) -> Schedule:
    """Return the schedule that a name describes, in the notation of the reference.

    Args:
        name: `cosine`, `cosine@start,end,tau`, `sigmoid@start,end,tau`, `log@start,end,reverse` (`t` or `true`, in any
            case, reverses) or `simple_linear`. As in the reference, a suffix of the family is ignored.

    Raises:
        ConfigError: The name is unknown, its arguments are malformed, or the schedule is not finite at some time.
    """
    family, given, arguments = name.partition("@")
    if family.startswith("simple_linear"):
        return linear
    if family.startswith("cosine") and not given:
        return cosine
    if not family.startswith(("cosine", "sigmoid", "log")):
        raise ConfigError(f"unknown schedule {name!r}: use cosine, cosine@, sigmoid@, log@ or simple_linear")
    schedule = _with_arguments(name, family, arguments.split(","))
    values = schedule(torch.linspace(0, 1, 1001))
    if not torch.isfinite(values).all():
        raise ConfigError(f"schedule {name!r} has no value at some times; check its arguments")
    return schedule


def _with_arguments(name: str, family: str, arguments: list[str]) -> Schedule:
    is_log = family.startswith("log")
    try:
        start, end, last = arguments
        first, final, tau = float(start), float(end), 1.0 if is_log else float(last)
    except ValueError:
        form = "start,end,reverse" if is_log else "start,end,tau"
        raise ConfigError(f"schedule {name!r} is not of the form '{family}@{form}'") from None
    if is_log:
        return partial(logarithmic, start=first, end=final, reverse=last.lower() in ("t", "true"))
    if tau == 0:
        raise ConfigError(f"schedule {name!r}: tau must not be 0")
    return partial(cosine_between if family.startswith("cosine") else sigmoid, start=first, end=final, tau=tau)


def _rescale(curve: Schedule, t: Tensor, start: float, end: float) -> Tensor:
    """Return the part of a curve from `start` to `end`, rescaled to run from 1 to 0 over times 0 to 1."""
    first, last = curve(t.new_full((), start)), curve(t.new_full((), end))
    return (last - curve(t * (end - start) + start)) / (last - first)
