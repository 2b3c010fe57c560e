"""Exchanges latents between ranks that share an image: each rank computes its groups, and `mix` sees all latents.

The traffic depends neither on the pixels nor on the tokens, see `exchanged_values`. Ranks send latents rather than keys
and values, which are twice as large. In return every rank computes the keys and values of all latents, which takes
4 d^2 operations per latent and global layer.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fitcli.distributed.heartbeat import exchanging
from models.config import ClassifierConfig, TrunkConfig


class Exchange:
    """Gathers the values of all ranks of a process group, with gradients: a `models.groups.Gather`.

    Args:
        group: The process group of the ranks that share images; None for all ranks.

    Attributes:
        received_bytes: Bytes received from other ranks so far, in forward and backward passes.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.ranks = dist.get_world_size(group)
        self.received_bytes = 0

    def __call__(self, values: Tensor) -> Tensor:
        """Gather values, with a graph: [...] -> [ranks ...]."""
        return _Gather.apply(values, self)  # type: ignore[no-any-return,no-untyped-call]

    def gather(self, values: Tensor) -> Tensor:
        """Gather values, without a graph: [...] -> [ranks ...]."""
        gathered = values.new_empty(self.ranks, *values.shape)
        with exchanging():
            dist.all_gather(list(gathered.unbind()), values.contiguous(), self.group)
        self._count(gathered)
        return gathered

    def scatter_sum(self, values: Tensor) -> Tensor:
        """Send a part to each rank and return the sum of the parts for this one: [ranks ...] -> [...].

        Every rank adds up the parts that it receives in the order of the ranks and at least in float32, instead of in
        the backend: the sum is the same each time, and gradients in bfloat16 lose no precision.
        """
        parts = torch.empty_like(values, memory_format=torch.contiguous_format)
        with exchanging():
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
    """Return the number of values that each rank receives in a training step; half of it without a backward pass.

    If r ranks share b images, of which the largest has g groups of m latents of width d, each rank has p = ceil(g / r)
    places for groups of each image. It receives from each of the r - 1 others, forward and again backward: b p m d in
    every global layer; b p m h + b d in the pooling of a classifier with h heads, or b p m d in an
    output head that others have added; and b m d in every segment but the
    last if tokens are causal. Values of global layers have the precision of matrix products.

    Args:
        config: The model.
        images: Number of images in the batch.
        groups: Number of groups of the largest image.
        ranks: Number of ranks that share the images.
        replays: Number of times that the backward pass runs the global layers again.
    """
    latents = images * -(-groups // ranks) * config.latents
    mixing = latents * config.latent_width * sum(layers for _, layers in config.segments)
    pooling = 0
    if isinstance(config, ClassifierConfig):
        pooling = latents * config.pool_heads + images * config.latent_width
        if config.has_added_part:
            pooling = latents * config.latent_width
    shifts = len(config.segments) - 1 if config.causal == "tokens" else 0
    shifted = shifts * images * config.latents * config.latent_width
    return (ranks - 1) * (2 * (mixing + pooling + shifted) + replays * mixing)
