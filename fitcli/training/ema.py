"""A moving average of the weights: steadier than the weights of any step, and what to generate with."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from fitcli.distributed.sharded_tensors import local_part

M = TypeVar("M", bound=nn.Module)


def decay_at(step: int, greatest: float) -> float:
    """How much of the average stays in step 1, 2, ...: (1 + step) / (10 + step), and at most `greatest`.

    So the average spans about the last tenth of the steps so far, until `greatest` limits it: the first steps, far
    from anything good, are forgotten (the warm-up of TensorFlow's `ExponentialMovingAverage`).
    """
    return min(greatest, (1 + step) / (10 + step))


class Ema(Generic[M]):
    """The average of the weights of a model, in a model of its own.

    Args:
        model: Whose weights are averaged; the average starts from them.
        decay: Greatest decay per step.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: M, step: int) -> None:
        """Take the weights in, after step 1, 2, ... of the run."""
        averages: list[Tensor] = [local_part(parameter) for parameter in self.model.parameters()]
        weights: list[Tensor] = [local_part(parameter) for parameter in model.parameters()]
        torch._foreach_lerp_(averages, weights, 1 - decay_at(step, self._decay))
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
