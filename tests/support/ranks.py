"""Runs ranks that share images as threads of one process: they start at once and stop at the first error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from models.groups import Gather

T = TypeVar("T")

PATIENCE = 240
"""Longest wait for the other ranks, in seconds."""


class ThreadExchange:
    """Exchanges values between ranks, each of which is a thread.

    Attributes:
        values: Number of values that rank 0 has received.
    """

    def __init__(self, ranks: int) -> None:
        self.ranks = ranks
        self.slots: list[Any] = [None] * ranks
        self.barrier = threading.Barrier(ranks, timeout=PATIENCE)
        self.values = 0

    def swap(self, rank: int, values: Tensor) -> list[Tensor]:
        """Return the values of all ranks, which must have one shape."""
        self.slots[rank] = values
        self.barrier.wait()
        received = list(self.slots)
        self.barrier.wait()
        assert all(each.shape == values.shape for each in received), [each.shape for each in received]
        return received

    def gather(self, rank: int) -> Gather:
        return lambda values: _Gather.apply(values, self, rank)  # type: ignore[no-any-return,no-untyped-call]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, exchange: ThreadExchange, rank: int) -> Tensor:
        ctx.exchange, ctx.rank = exchange, rank
        if rank == 0:
            exchange.values += (exchange.ranks - 1) * values.numel()
        return torch.stack(exchange.swap(rank, values))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        if ctx.rank == 0:
            ctx.exchange.values += gradient.numel() - gradient[0].numel()
        return torch.stack([each[ctx.rank] for each in ctx.exchange.swap(ctx.rank, gradient)]).sum(0), None, None


def run_on_all(ranks: int, work: Callable[[int, Gather], T]) -> tuple[list[T], int]:
    """Call a function on each rank; return the results in order, and the number of values that rank 0 received."""
    exchange = ThreadExchange(ranks)

    def one(rank: int) -> T:
        try:
            return work(rank, exchange.gather(rank))
        except BaseException:
            exchange.barrier.abort()
            raise

    with ThreadPoolExecutor(ranks) as pool:
        futures = [pool.submit(one, rank) for rank in range(ranks)]
    raised = [future.exception() for future in futures]
    errors = [error for error in raised if error is not None and not isinstance(error, threading.BrokenBarrierError)]
    if errors:
        raise errors[0]
    return [future.result() for future in futures], exchange.values
