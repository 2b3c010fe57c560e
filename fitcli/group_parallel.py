"""One image over several ranks: each computes a share of the groups, and their latents meet in `mix`.

What is exchanged does not depend on the pixels nor on the tokens. Where r ranks share b images, the longest of g groups
of m latents, each rank has p = ceil(g / r) places per image. In a step every rank receives, in values,

    forward        each global layer                    (r - 1) b p m d
                   pooling (classifier), h heads        (r - 1) b (p m h + d)
                   segment but the last (decoder)       (r - 1) b m d
    backward       the same again
    recomputing    of `mix`: that of its layers again

`exchanged_values` counts them. Latents are sent rather than keys and values, which are twice as large; that each rank
makes the keys and values of all latents by itself takes 4 g m d^2 operations per image and layer.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Exchange:
    """Gathers what all ranks of a process group have: a `models.share.Gather`.

    Args:
        group: Of the ranks that share images; None for all ranks.

    Attributes:
        received_bytes: From other ranks, in both directions, so far.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.ranks = dist.get_world_size(group)
        self.received_bytes = 0

    def __call__(self, values: Tensor) -> Tensor:
        """[...] -> [ranks ...]."""
        return _Gather.apply(values, self)  # type: ignore[no-any-return,no-untyped-call]

    def gather(self, values: Tensor) -> Tensor:
        """[...] -> [ranks ...] without a graph."""
        gathered = values.new_empty(self.ranks, *values.shape)
        dist.all_gather(list(gathered.unbind()), values.contiguous(), self.group)
        self._count(gathered)
        return gathered

    def scatter_sum(self, values: Tensor) -> Tensor:
        """[ranks ...], a part for each rank -> [...], the sum of the parts that all ranks have for this one.

        Every rank adds up what it is sent, in the same order and at least in float32, rather than leaving that to a
        backend: the sum is the same each time, and gradients of bfloat16 lose nothing in it.
        """
        parts = torch.empty_like(values, memory_format=torch.contiguous_format)
        dist.all_to_all_single(parts, values.contiguous(), group=self.group)
        self._count(parts)
        wide = torch.promote_types(values.dtype, torch.float32)
        return parts.sum(dim=0, dtype=wide).to(values.dtype)

    def _count(self, whole: Tensor) -> None:
        self.received_bytes += whole.nbytes // self.ranks * (self.ranks - 1)


class _Gather(torch.autograd.Function):
    """`Exchange.gather`, and `Exchange.scatter_sum` for its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, exchange: Exchange) -> Tensor:
        ctx.exchange = exchange
        return exchange.gather(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.exchange.scatter_sum(gradient), None
