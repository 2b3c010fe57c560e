"""Keeps a moving average of the weights, which varies less than the weights of single steps. Generation uses it."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from fitcli.distributed.sharded_tensors import local_part

M = TypeVar("M", bound=nn.Module)


def decay_at(step: int, greatest: float) -> float:
    """Return the decay of the average in step 1, 2, ...: (1 + step) / (10 + step), at most `greatest`.

    Until `greatest` limits it, the average spans about the last tenth of the steps so far, so that it forgets the first
    ones (the warm-up of TensorFlow's `ExponentialMovingAverage`).
    """
    return min(greatest, (1 + step) / (10 + step))


class Ema(Generic[M]):
    """The moving average of the weights of a model, held in a copy of the model.

    Args:
        model: Model to average; the average starts from its weights.
        decay: Greatest decay per step.

    Attributes:
        model: Model with the average as its weights.
    """

    def __init__(self, model: M, decay: float) -> None:
        self.model: M = copy.deepcopy(model).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, model: M, step: int) -> None:
        """Update the average with the weights after step 1, 2, ... of the run."""
        averages: list[Tensor] = [local_part(parameter) for parameter in self.model.parameters()]
        weights: list[Tensor] = [local_part(parameter) for parameter in model.parameters()]
        torch._foreach_lerp_(averages, weights, 1 - decay_at(step, self._decay))
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
