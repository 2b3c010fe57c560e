"""Gradients are summed over processes: after the first step early, and without gradients that no process has."""

from __future__ import annotations

import pytest
import torch
from support.processes import run_ranks
from torch import Tensor, nn

from fitcli.distributed.gradient_sums import GradientSums
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import World


class ThreeNumbers(nn.Module):
    """A loss to which the first parameter always adds, the second on some ranks, and the third never."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Parameter(torch.zeros(2)) for _ in range(3))

    def forward(self, rank: int, step: int) -> Tensor:
        loss = (rank + 1) * self.first.sum()
        return loss + 10 * step * self.second.sum() if rank == 1 else loss


def summed() -> list[tuple[bool, list[list[float] | None]]]:
    """For two steps and one whose passes add several times: whether the sums were early, and the gradients."""
    rows = list[tuple[bool, list[list[float] | None]]]()
    with processes("cpu") as world:
        model = ThreeNumbers()
        sums = GradientSums(world, model, sharded=False)
        for step, adds_once in ((1, True), (2, True), (3, False)):
            sums.begin_pass(is_last=True, adds_once=adds_once)
            early = sums.are_early
            with sums.during_backward():
                model(world.rank, step).backward()
            sums.begin_rest()
            sums.finish(world.gather(sums.existing()))
            rows.append((early, [None if p.grad is None else p.grad.tolist() for p in model.parameters()]))
            model.zero_grad(set_to_none=True)
    return rows


@pytest.mark.distributed
def test_gradients_are_sums_over_processes_early_or_late() -> None:
    for rows in run_ranks(2, summed):
        assert rows == [(step == 2, [[3.0, 3.0], [10.0 * step, 10.0 * step], None]) for step in (1, 2, 3)]


def discarded() -> bool:
    with processes("cpu") as world:
        model = ThreeNumbers()
        sums = GradientSums(world, model, sharded=False)
        for _ in range(2):
            sums.begin_pass(is_last=True, adds_once=True)
            model(world.rank, 1).backward()
            sums.begin_rest()
            if not sums.are_early:
                sums.finish(world.gather(sums.existing()))
                model.zero_grad(set_to_none=True)
        sums.discard()
        return not sums.are_early and all(p.grad is None for p in (model.first, model.second))


@pytest.mark.distributed
def test_discarded_sums_leave_no_gradient() -> None:
    assert run_ranks(2, discarded) == [True, True]


def test_a_single_process_sums_nothing() -> None:
    model = ThreeNumbers()
    sums = GradientSums(World(), model, sharded=False)
    sums.begin_pass(is_last=True, adds_once=True)
    with sums.during_backward():
        model(0, 1).backward()
    gradient = model.first.grad
    sums.finish([sums.existing()])
    assert model.first.grad is gradient
    assert model.second.grad is None
    assert not sums.are_early
