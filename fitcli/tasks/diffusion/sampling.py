"""The sampling loop, for patches in memory and for stored patches. Views and hooks supply patches and noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.sweeps import Sink
from fitcli.tasks.diffusion.parameterization import DenoisingEstimate, PredictionKind, implied_noise, interpret
from fitcli.tasks.diffusion.samplers import DETERMINISTIC, MULTISTEP, PreviousStep, SamplerStep, ddim
from fitcli.tasks.diffusion.schedules import Schedule, cosine
from models.checks import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """Settings of the sampling loop.

    Attributes:
        steps: Number of steps: evaluations of the network, without the unconditional ones of guidance.
        schedule: Noise schedule.
        sampler: One of `samplers.STEPS`.
        prediction: Output of the network.
        clip: (least, greatest) value of the data; None for no clipping.
        guidance: Weight of classifier-free guidance (arXiv:2207.12598, equation 6); 0 for none.
        guided: (first, last) time of guidance, in [0, 1]; a step that starts outside is predicted once, without it
            (Kynkäänniemi et al. 2024, arXiv:2404.07724, section 3).
        decay: Weight of older latents in self-conditioning, in [0, 1]; 0 uses the latest only.
        time_difference: Number of steps by which a step aims beyond the start of the next one (asymmetric time
            intervals, Chen et al. 2022, arXiv:2208.04202).
        normalize: Whether to divide the input of the network by its standard deviation.
        start: Time at which sampling starts, in (0, 1]; below 1 from a noisy image (SDEdit, arXiv:2108.01073).

    Raises:
        ConfigError: A value is impossible.
    """

    steps: int
    schedule: Schedule = cosine
    sampler: SamplerStep = ddim
    prediction: PredictionKind = "eps"
    clip: tuple[float, float] | None = (-1.0, 1.0)
    guidance: float = 0.0
    guided: tuple[float, float] = (0.0, 1.0)
    decay: float = 0.0
    time_difference: float = 0.0
    normalize: bool = False
    start: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"sampling takes at least 1 step, not {self.steps}")
        if not 0 <= self.guided[0] <= self.guided[1] <= 1:
            raise ConfigError(f"times of guidance must be 0 <= first <= last <= 1, not {self.guided}")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"decay must lie in [0, 1], not {self.decay}")
        if self.time_difference < 0:
            raise ConfigError(f"time_difference must not be negative, not {self.time_difference}")
        if not 0 < self.start <= 1:
            raise ConfigError(f"sampling starts at a time in (0, 1], not {self.start}")

    def time(self, k: int) -> float:
        """Return the time at which step `k` starts."""
        return self.start * (1 - k / self.steps)

    def guidance_at(self, k: int) -> float:
        """Return the weight of guidance in step `k`."""
        return self.guidance if self.guided[0] <= self.time(k) <= self.guided[1] else 0.0

    def gammas(self, k: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return gamma before and after step `k`, as scalars with the dtype and device of `like`."""
        now = self.time(k)
        after = self.start * max(1 - (k + 1 + self.time_difference) / self.steps, 0.0)
        times = to_device(torch.tensor([now, after], dtype=torch.float32), like.device)
        gammas = self.schedule(times).to(like.dtype)
        return gammas[0], gammas[1]


Quantity = Literal["x", "data", "unconditional"]
"""The stored values of each patch: "x" is the noisy patch, and the data after the last step; "data" is the estimate of
the data in the step before, for multistep samplers and for views that blend; "unconditional" is the unconditional
prediction of this step."""


class View(ABC):
    """The stored values of one step, and a network that predicts from them.

    Attributes:
        images: Number of images.
        layout: Number of the layout of the groups. Self-conditioning carries latents between steps of one layout only.
        blends: Whether the estimate of the data is blended with that of the step before, whose groups lie differently.
    """

    images: int
    layout: int = 0
    blends: bool = False

    @abstractmethod
    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        """Run the network over all groups.

        Args:
            level: Gamma [b].
            condition: Conditioning tokens [b s width]; None for an unconditional prediction.
            previous: Latents [g m d] to start from; None for zeros.
            take: Takes the prediction [part n p] of each slice of the groups, in order.

        Returns:
            The latents [g m d] for the next step to start from; None for a model without self-conditioning.
        """

    @abstractmethod
    def read(self, quantity: Quantity, part: slice) -> Tensor:
        """Return the values [part n p] from before this step; for "unconditional", those written in this step."""

    @abstractmethod
    def write(self, quantity: Quantity, part: slice, values: Tensor) -> None:
        """Store values [part n p]. Those from before this step may be overwritten."""

    def share(self, part: slice, like: Tensor) -> Tensor:
        """Return the share of the estimate of this step [part n p] in the blend, in the dtype of `like`."""
        return torch.ones_like(like)

    def companion(self) -> View:
        """Return the view of the same values from before this step in the groups of the step before.

        It writes where this view reads. Only a view that blends has one.
        """
        raise NotImplementedError


class StepResult(NamedTuple):
    """The results of one step for a slice of the groups.

    Attributes:
        part: The slice.
        output: Output of the network with its condition, [part n p].
        unconditional: Output of the network with a condition of zeros, [part n p]; None without guidance.
        data, noise: Estimates of data and noise, [part n p].
        samples: Noisy patches after the step, [part n p].
    """

    part: slice
    output: Tensor
    unconditional: Tensor | None
    data: Tensor
    noise: Tensor
    samples: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """Functions that every step calls with its number k and a slice of the groups.

    Attributes:
        noise: Returns the standard normal noise [part n p]; None if the sampler draws none.
        constrain: Returns the patches [part n p] that replace those after the step, from these and their gamma: for
            images that are partly known. None to keep them.
        predicted: Takes the outputs of the network for a slice of the groups: with its condition, and with a condition
            of zeros or None.
        done: Takes the results of the step.
    """

    noise: Callable[[int, slice], Tensor] | None = None
    constrain: Callable[[int, slice, Tensor, Tensor], Tensor] | None = None
    predicted: Callable[[Tensor, Tensor | None], None] = lambda output, unconditional: None
    done: Callable[[int, StepResult], None] = lambda k, result: None


@dataclass(slots=True)
class SamplingState:
    """The state between two steps, besides the patches.

    Attributes:
        step: Number of the next step.
        latents: Moving average [g m d] of the latents of earlier steps, by layout.
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
    state: SamplingState | None = None,
) -> Iterator[SamplingState]:
    """Sample images step by step (RIN, arXiv:2212.11972, section 3.3).

    Args:
        view: Returns the stored values for step k. "x" holds noise before the first step and the data after the last.
        sampling: Settings of the loop.
        like: Any tensor with the dtype and device of the patches.
        condition: Conditioning tokens [b s width]; None for an unconditional model.
        hooks: Functions that every step calls.
        state: State to continue from; None to start with the first step.

    Yields:
        The state after every step, always the same object.

    Raises:
        ValueError: Guidance without a condition.
    """
    if sampling.guidance and condition is None:
        raise ValueError(f"guidance {sampling.guidance} needs a condition to guide towards")
    state = state or SamplingState()
    for k in range(state.step, sampling.steps):
        current = view(k)
        latents = _step(current, k, sampling, like, condition, hooks, state.latents)
        if latents is not None:
            state.latents[current.layout] = _average(state.latents.get(current.layout), latents, sampling.decay)
        state.step = k + 1
        yield state


class _Prediction(NamedTuple):
    """What the network predicts for a slice of the groups; see `StepResult`. x is what it saw."""

    part: slice
    x: Tensor
    output: Tensor
    unconditional: Tensor | None
    estimate: DenoisingEstimate


def _step(
    view: View,
    k: int,
    sampling: Sampling,
    like: Tensor,
    condition: Tensor | None,
    hooks: Hooks,
    earlier_latents: Mapping[int, Tensor],
) -> Tensor | None:
    now, after = sampling.gammas(k, like)
    level, last = now.expand(view.images), k == sampling.steps - 1
    multistep = sampling.sampler in MULTISTEP
    keeps_data, weight = multistep or view.blends, sampling.guidance_at(k)
    earlier_gamma = sampling.gammas(k - 1, like)[0] if multistep and k > 0 else None

    def predict(view: View, take: Callable[[_Prediction], None]) -> Tensor | None:
        """Pass the predictions for each slice of the groups to `take`, in order; return the latents."""

        def interpreted(part: slice, output: Tensor) -> None:
            x, output = view.read("x", part), output.to(now.dtype)
            unconditional = view.read("unconditional", part) if weight else None
            hooks.predicted(output, unconditional)
            guided = _guide(output, unconditional, weight)
            estimate = interpret(guided, x, now, sampling.prediction, sampling.clip, truncate_noise=True)
            take(_Prediction(part, x, output, unconditional, estimate))

        previous = earlier_latents.get(view.layout)
        if weight and condition is not None:
            view.predict(
                level,
                torch.zeros_like(condition),
                previous,
                lambda part, output: view.write("unconditional", part, output.to(now.dtype)),
            )
        return view.predict(level, condition, previous, interpreted)

    def step(predicted: _Prediction) -> None:
        part, x, output, unconditional, (data, noise) = predicted
        if view.blends and (k > 0 or last):
            data = torch.lerp(view.read("data", part), data, view.share(part, data))
            noise = implied_noise(x, data, now)
        z = None if hooks.noise is None or sampling.sampler in DETERMINISTIC else hooks.noise(k, part)
        earlier = None if earlier_gamma is None else PreviousStep(view.read("data", part), earlier_gamma)
        samples = sampling.sampler(x, data, noise, now, after, z, earlier)
        hooks.done(k, StepResult(part, output, unconditional, data, noise, samples))
        if keeps_data and not last:
            view.write("data", part, data)
        x, gamma = (data, torch.ones_like(after)) if last else (samples, after)
        view.write("x", part, x if hooks.constrain is None else hooks.constrain(k, part, x, gamma))

    if view.blends and last:
        # The result of the last step is the image, so it is blended with a prediction from the same noise.
        other = view.companion()
        predict(other, lambda predicted: other.write("data", predicted.part, predicted.estimate.data))
    return predict(view, step)


def _average(older: Tensor | None, latents: Tensor, decay: float) -> Tensor:
    """Return the moving average of latents, which starts with zeros."""
    if decay == 0:
        return latents
    return (1 - decay) * latents if older is None else decay * older + (1 - decay) * latents


def _guide(conditional: Tensor, unconditional: Tensor | None, weight: float) -> Tensor:
    return conditional if unconditional is None else (1 + weight) * conditional - weight * unconditional
