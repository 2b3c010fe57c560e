"""One image over several ranks: each computes a share of the groups, and their latents meet in `mix`.

What is exchanged depends neither on the pixels nor on the tokens, see `exchanged_values`. Latents are sent rather than
keys and values, which are twice as large; that each rank makes the keys and values of all latents by itself takes
4 d^2 operations per latent and global layer.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from models.config import ClassifierConfig, TrunkConfig


class Exchange:
    """Gathers what all ranks of a process group have: a `models.groups.Gather`.

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


def exchanged_values(config: TrunkConfig, images: int, groups: int, ranks: int, replays: int = 0) -> int:
    """How many values each rank receives in a training step; half of it without a backward pass.

    Where r ranks share b images, of which the largest has g groups of m latents of width d, each rank has
    p = ceil(g / r) places for groups of each image. It receives from the r - 1 others, forward and again backward:
    b p m d in each global layer; in the pooling of a classifier with h heads b p m h + b d; and where tokens are causal
    b m d in each segment but the last. Values of global layers are of the precision of matrix products.

    Args:
        config: Of the model.
        images: In the batch.
        groups: Of the largest image.
        ranks: That share them.
        replays: How often the backward pass runs the global layers again.
    """
    latents = images * -(-groups // ranks) * config.latents
    mixing = latents * config.latent_width * sum(layers for _, layers in config.segments)
    pooling = latents * config.pool_heads + images * config.latent_width if isinstance(config, ClassifierConfig) else 0
    shifts = len(config.segments) - 1 if config.causal == "tokens" else 0
    shifted = shifts * images * config.latents * config.latent_width
    return (ranks - 1) * (2 * (mixing + pooling + shifted) + replays * mixing)
