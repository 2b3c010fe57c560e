"""Sums the gradients of a training step over all processes, during its last backward pass where that is possible."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from fitcli.distributed.early_sums import EarlySums
from fitcli.distributed.sharded_tensors import local_part
from fitcli.distributed.world import World


class GradientSums:
    """Sums the gradients of a model, step by step.

    Args:
        world: All processes.
        model: The model.
        sharded: Whether its weights are sharded: FSDP then sums over the processes that hold different images.

    The sums travel during the backward pass of the last batch, see `early_sums.py`. Those of a streamed step, whose
    backward passes add to each gradient many times, of a step that shares images, and of the first step follow it.
    """

    def __init__(self, world: World, model: nn.Module, sharded: bool) -> None:
        self._world, self._model, self._sharded = world, model, sharded
        # Numbers of the parameters that had a gradient in the last step on any process; None before the first step.
        # Some never have one: they are left out of early sums as of those that follow a pass, for the same bits.
        self._existing: set[int] | None = None
        self._early: EarlySums | None = None

    @property
    def are_early(self) -> bool:
        """Whether the sums travel during the present pass."""
        return self._early is not None

    def begin_pass(self, is_last: bool, adds_once: bool) -> None:
        """Choose when the gradients are summed. All processes call it before each pass.

        Args:
            is_last: Whether it is the last pass of the step.
            adds_once: Whether its backward pass adds to each gradient at most once.
        """
        self._early = self._early_sums() if is_last and adds_once else None

    def during_backward(self) -> AbstractContextManager[None]:
        """Return a context for the backward pass."""
        return nullcontext() if self._early is None else self._early.during_backward()

    def begin_rest(self) -> None:
        """Begin the early sums that have not begun, with the gradients that there are; all processes call it."""
        if self._early is not None:
            self._early.begin_rest()

    def existing(self) -> str:
        """Return a letter per parameter: "g" if it has a gradient, else "-". Empty if no other process needs it."""
        if self._world.size == 1 or self._sharded:
            return ""
        summed = set[nn.Parameter]() if self._early is None else self._early.have
        return "".join("-" if p.grad is None and p not in summed else "g" for p in self._model.parameters())

    def finish(self, existing: Sequence[str]) -> None:
        """Make the gradients the sums over all processes; `existing` has the result of `existing` of each."""
        if self._world.size == 1:
            return
        if self._sharded:
            gradients = (local_part(p.grad) for p in self._model.parameters() if p.grad is not None)
            self._world.add_up(gradients, self._world.groups)
            return
        parameters = list(self._model.parameters())
        self._existing = {number for number, letters in enumerate(zip(*existing, strict=True)) if "g" in letters}
        left = [parameters[number] for number in sorted(self._existing)]
        if self._early is not None:
            self._early.finish(set(left))
            left = [parameter for parameter in left if parameter not in self._early.parameters]
            self._early = None
        for parameter in left:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._world.add_up(parameter.grad for parameter in left if parameter.grad is not None)

    def discard(self) -> None:
        """Wait for early sums that no process needs; all processes have begun them."""
        if self._early is not None:
            self._early.discard()
            self._early = None

    def _early_sums(self) -> EarlySums | None:
        """Return early sums for the next pass; None if they have to follow it."""
        if self._existing is None or self._sharded or self._world.size == 1 or self._world.groups.size > 1:
            return None
        parameters = enumerate(self._model.parameters())
        return EarlySums(self._world, [parameter for number, parameter in parameters if number in self._existing])
