"""Sampling with everything in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from fitcli.streaming.sweeps import Sink
from fitcli.tasks.diffusion.parameterization import normalize_images
from fitcli.tasks.diffusion.sampling import Done, Hooks, Kept, Sampling, View, sample
from models.denoiser import FITDenoiser
from models.encoder import Features
from models.groups import Groups


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
    view = Whole(model, groups, initial, sampling.normalize)
    last: list[Done] = []
    hooks = Hooks(
        noise=None if step_noise is None else lambda k, part: step_noise(k), done=lambda k, done: last.append(done)
    )
    for carried in sample(lambda k: view, sampling, initial, condition, hooks):
        done, k = last.pop(), carried.step - 1
        if callback is not None:
            assert view.latents is not None
            now, after = sampling.gammas(k, initial)
            callback(Trace(k, now, after, done.output, done.unconditional, view.latents, *done[3:]))
    return view.read("x", slice(None))


class Whole(View):
    """All patches of a batch of images in memory, as one slice.

    Attributes:
        latents: Of the last prediction.
    """

    def __init__(self, model: FITDenoiser, groups: Groups, initial: Tensor, normalize: bool) -> None:
        self.images = groups.images
        self.latents: Tensor | None = None
        self._model, self._groups, self._normalize = model, groups, normalize
        self._kept: dict[Kept, Tensor] = {"x": initial}

    def predict(self, level: Tensor, condition: Tensor | None, previous: Tensor | None, take: Sink) -> Tensor | None:
        x = self._kept["x"]
        seen = normalize_images(x, self._groups) if self._normalize else x
        features: Features = self._model(seen, self._groups, level, condition, previous)
        self.latents = features.latents
        take(slice(0, len(x)), features.tokens)
        return self.latents

    def read(self, kept: Kept, part: slice) -> Tensor:
        return self._kept[kept][part]

    def write(self, kept: Kept, part: slice, values: Tensor) -> None:
        self._kept[kept] = values
