"""The sampling loop, written once, for patches in memory and at rest. Knows no pixels, nor where noise comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.sweeps import Sink
from fitcli.tasks.diffusion.parameterization import PredictionKind, interpret
from fitcli.tasks.diffusion.samplers import DETERMINISTIC, MULTISTEP, PreviousStep, SamplerStep, ddim
from fitcli.tasks.diffusion.schedules import Schedule, cosine
from models.checks import ConfigError


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
        start: Time at which sampling begins, in (0, 1]; below 1 it begins from a noisy image (SDEdit,
            arXiv:2108.01073).
    """

    steps: int
    schedule: Schedule = cosine
    sampler: SamplerStep = ddim
    prediction: PredictionKind = "eps"
    clip: tuple[float, float] | None = (-1.0, 1.0)
    guidance: float = 0.0
    decay: float = 0.0
    time_difference: float = 0.0
    normalize: bool = False
    start: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"sampling takes at least 1 step, not {self.steps}")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"decay must lie in [0, 1], not {self.decay}")
        if self.time_difference < 0:
            raise ConfigError(f"time_difference must not be negative, not {self.time_difference}")
        if not 0 < self.start <= 1:
            raise ConfigError(f"sampling starts at a time in (0, 1], not {self.start}")

    def gammas(self, k: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Gamma before and after step `k`, as scalars of the dtype and on the device of `like`."""
        now = self.start * (1 - k / self.steps)
        after = self.start * max(1 - (k + 1 + self.time_difference) / self.steps, 0.0)
        times = to_device(torch.tensor([now, after], dtype=torch.float32), like.device)
        gammas = self.schedule(times).to(like.dtype)
        return gammas[0], gammas[1]


Kept = Literal["x", "data", "unconditional"]
"""What is kept of every patch: the noisy patches (the data, after the last step), the data as the step before predicted
it, and the unconditional prediction of this step."""


class View(ABC):
    """Noisy patches as one step sees them: where they are, and a network that predicts from them.

    Attributes:
        images: Number of images.
        layout: Self-conditioning carries latents between steps of the same layout only.
    """

    images: int
    layout: int = 0

    @abstractmethod
    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        """Run the network over all groups.

        Args:
            level: Gamma [b].
            condition: Conditioning tokens [b s width].
            previous: Latents to start from, [g m d].
            take: Given the prediction, slice after slice of the groups.

        Returns:
            Latents [g m d] for the next step to start from; None where it starts from none.
        """

    @abstractmethod
    def read(self, kept: Kept, part: slice) -> Tensor:
        """Values [part n p] as they were before this step; of "unconditional", as they were written in it."""

    @abstractmethod
    def write(self, kept: Kept, part: slice, values: Tensor) -> None:
        """Keep values [part n p]; what this part was before the step is not needed any more."""


class Done(NamedTuple):
    """What one step did to a slice of the groups.

    Attributes:
        part: The slice.
        output: Of the network with its condition, [part n p].
        unconditional: Of the network with a condition of zeros, [part n p]; None without guidance.
        data, noise: What follows about data and noise, [part n p].
        samples: After the step, [part n p].
    """

    part: slice
    output: Tensor
    unconditional: Tensor | None
    data: Tensor
    noise: Tensor
    samples: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """What a step asks for and tells.

    Attributes:
        noise: Standard normal noise [part n p] of step k for a slice of the groups.
        constrain: Changes patches [part n p] after step k, given their gamma: to keep what is known of an image.
        done: Told what a step did to a slice of the groups.
    """

    noise: Callable[[int, slice], Tensor] | None = None
    constrain: Callable[[int, slice, Tensor, Tensor], Tensor] | None = None
    done: Callable[[int, Done], None] = lambda k, done: None


@dataclass(slots=True)
class Carried:
    """What the steps hand on, beside the patches.

    Attributes:
        step: The next one.
        latents: By layout, a moving average of the latents of earlier steps, [g m d].
    """

    step: int = 0
    latents: dict[int, Tensor] = field(default_factory=dict)


@torch.no_grad()
def sample(
    view: Callable[[int], View],
    sampling: Sampling,
    like: Tensor,
    condition: Tensor | None = None,
    hooks: Hooks = Hooks(),
    carried: Carried | None = None,
) -> Iterator[Carried]:
    """Sample images, step by step, from noise that is there already (RIN, arXiv:2212.11972, section 3.3).

    Args:
        view: The patches as step k sees them. Its "x" is noise before the first step, the data after the last.
        sampling: How.
        like: Any tensor of the dtype and on the device of the patches.
        condition: Conditioning tokens [b s width].
        hooks: Noise, and who is told.
        carried: Where to go on; None at the beginning.

    Yields:
        After every step, what the next one needs.

    Raises:
        ValueError: Guidance without a condition.
    """
    if sampling.guidance and condition is None:
        raise ValueError(f"guidance {sampling.guidance} needs a condition to guide towards")
    carried = carried or Carried()
    for k in range(carried.step, sampling.steps):
        seen = view(k)
        latents = _step(seen, k, sampling, like, condition, hooks, carried.latents.get(seen.layout))
        if latents is not None:
            carried.latents[seen.layout] = _average(carried.latents.get(seen.layout), latents, sampling.decay)
        carried.step = k + 1
        yield carried


def _step(
    view: View,
    k: int,
    sampling: Sampling,
    like: Tensor,
    condition: Tensor | None,
    hooks: Hooks,
    previous: Tensor | None,
) -> Tensor | None:
    now, after = sampling.gammas(k, like)
    level, last = now.expand(view.images), k == sampling.steps - 1
    remembers = sampling.sampler in MULTISTEP
    before = sampling.gammas(k - 1, like)[0] if remembers and k > 0 else None

    def take(part: slice, output: Tensor) -> None:
        x, output = view.read("x", part), output.to(now.dtype)
        unconditional = view.read("unconditional", part) if sampling.guidance else None
        guided = _guide(output, unconditional, sampling.guidance)
        data, noise = interpret(guided, x, now, sampling.prediction, sampling.clip, truncate_noise=True)
        z = None if hooks.noise is None or sampling.sampler in DETERMINISTIC else hooks.noise(k, part)
        earlier = None if before is None else PreviousStep(view.read("data", part), before)
        samples = sampling.sampler(x, data, noise, now, after, z, earlier)
        hooks.done(k, Done(part, output, unconditional, data, noise, samples))
        if remembers and not last:
            view.write("data", part, data)
        rest, gamma = (data, torch.ones_like(after)) if last else (samples, after)
        view.write("x", part, rest if hooks.constrain is None else hooks.constrain(k, part, rest, gamma))

    if sampling.guidance and condition is not None:
        view.predict(
            level,
            torch.zeros_like(condition),
            previous,
            lambda part, output: view.write("unconditional", part, output.to(now.dtype)),
        )
    return view.predict(level, condition, previous, take)


def _average(older: Tensor | None, latents: Tensor, decay: float) -> Tensor:
    """The moving average of latents, which begins with zeros."""
    if decay == 0:
        return latents
    return (1 - decay) * latents if older is None else decay * older + (1 - decay) * latents


def _guide(conditional: Tensor, unconditional: Tensor | None, weight: float) -> Tensor:
    return conditional if unconditional is None else (1 + weight) * conditional - weight * unconditional
