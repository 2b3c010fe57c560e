"""Ranks that share images, as threads of one process: they start at once and stop at the first error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.groups import Gather

T = TypeVar("T")

PATIENCE = 60
"""Seconds that a rank waits for the others."""


class Meeting:
    """Where the values of all ranks meet. Each rank is one thread."""

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.places: list[Any] = [None] * ranks
        self.barrier = threading.Barrier(ranks, timeout=PATIENCE)
        self.values = 0

    def swap(self, rank: int, values: Tensor) -> list[Tensor]:
        """What all ranks have, which must be of one shape."""
        self.places[rank] = values
        self.barrier.wait()
        found = list(self.places)
        self.barrier.wait()
        assert all(each.shape == values.shape for each in found), [each.shape for each in found]
        return found

    def gather(self, rank: int) -> Gather:
        return lambda values: _Meet.apply(values, self, rank)  # type: ignore[no-any-return,no-untyped-call]


class _Meet(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, meeting: Meeting, rank: int) -> Tensor:
        ctx.meeting, ctx.rank = meeting, rank
        if rank == 0:
            meeting.values += (meeting.ranks - 1) * values.numel()
        return torch.stack(meeting.swap(rank, values))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        if ctx.rank == 0:
            ctx.meeting.values += gradient.numel() - gradient[0].numel()
        return torch.stack([each[ctx.rank] for each in ctx.meeting.swap(ctx.rank, gradient)]).sum(0), None, None


def run_on_all(ranks: int, work: Callable[[int, Gather], T]) -> tuple[list[T], int]:
    """What the work of each rank gives, in their order; and how many values rank 0 received."""
    meeting = Meeting(ranks)

    def one(rank: int) -> T:
        try:
            return work(rank, meeting.gather(rank))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(ranks) as pool:
        futures = [pool.submit(one, rank) for rank in range(ranks)]
    broken = [future.exception() for future in futures]
    told = [error for error in broken if error is not None and not isinstance(error, threading.BrokenBarrierError)]
    if told:
        raise told[0]
    return [future.result() for future in futures], meeting.values
