"""Samples batches of images with all patches in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from fitcli.streaming.sweeps import Sink
from fitcli.tasks.diffusion.parameterization import normalize_images
from fitcli.tasks.diffusion.sampling import Hooks, Quantity, Sampling, StepResult, View, sample
from models.denoiser import FITDenoiser
from models.encoder import Features
from models.groups import Groups


class Trace(NamedTuple):
    """Intermediate results of one step.

    Attributes:
        step: Number of the step, from 0.
        gamma_now, gamma_next: Gamma before and after the step, scalars.
        output: Output of the network with its condition, [g n p].
        unconditional: Output of the network with a condition of zeros, [g n p]; None without guidance.
        latents: Latents of the conditional prediction, [g m d].
        data, noise: Estimates of data and noise, [g n p].
        samples: Noisy patches after the step, [g n p].
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
        model: The denoiser, which predicts `sampling.prediction`.
        sampling: Steps, schedule and sampler.
        groups: All groups of the batch.
        initial: Standard normal noise [g n p].
        condition: Conditioning tokens [b s width]; None for an unconditional model.
        step_noise: Returns the standard normal noise [g n p] of step k. It is called once per step, in order, if the
            sampler draws noise.
        callback: Called with the trace of every step.

    Returns:
        The data of the last prediction, [g n p].

    Raises:
        ValueError: Guidance without a condition, or a sampler that draws noise without `step_noise`.
    """
    view = InMemoryView(model, groups, initial, sampling.normalize)
    results: list[StepResult] = []
    hooks = Hooks(
        noise=None if step_noise is None else lambda k, part: step_noise(k),
        done=lambda k, result: results.append(result),
    )
    for state in sample(lambda k: view, sampling, initial, condition, hooks):
        result, k = results.pop(), state.step - 1
        if callback is not None:
            assert view.latents is not None
            now, after = sampling.gammas(k, initial)
            callback(Trace(k, now, after, result.output, result.unconditional, view.latents, *result[3:]))
    return view.read("x", slice(None))


class InMemoryView(View):
    """All patches of a batch of images in memory, as one slice.

    Attributes:
        latents: Latents of the last prediction, [g m d]; None before the first.
    """

    def __init__(self, model: FITDenoiser, groups: Groups, initial: Tensor, normalize: bool) -> None:
        self.images = groups.images
        self.latents: Tensor | None = None
        self._model, self._groups, self._normalize = model, groups, normalize
        self._values: dict[Quantity, Tensor] = {"x": initial}

    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        x = self._values["x"]
        seen = normalize_images(x, self._groups) if self._normalize else x
        features: Features = self._model(seen, self._groups, level, condition, previous)
        self.latents = features.latents
        take(slice(0, len(x)), features.tokens)
        return self.latents

    def read(self, quantity: Quantity, part: slice) -> Tensor:
        return self._values[quantity][part]

    def write(self, quantity: Quantity, part: slice, values: Tensor) -> None:
        self._values[quantity] = values
