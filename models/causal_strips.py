"""Attend in the order of groups, in memory that is linear in the number of latents.

A latent attends to the latents of its own group and of all earlier groups. A mask over all pairs would be quadratic,
and every layer would keep it for its backward pass. So the queries are cut into strips: each strip attends to the keys
up to its own end, and all strips of all layers share one mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from models.attention import dot_product_attention
from models.masks import group_causal_mask

STRIP = 512
"""Largest number of latents in a strip, if a group has no more."""


@dataclass(frozen=True, slots=True, eq=False)
class CausalStrips:
    """The keys that each query attends to.

    Attributes:
        mask: [s u], added to scores: 0 or -inf. These are the last s rows of the mask over u positions; the rows before
            them are the same, shifted by whole groups, so that the last columns serve every strip.
        run: Latents of a group.
        start: Position of the first query among the keys.
    """

    mask: Tensor
    run: int
    start: int = 0

    @classmethod
    def of(cls, count: int, own: int, run: int, like: Tensor) -> Self:
        """Return the strips of the first `own` of `count` positions, with a mask of the dtype of `like`."""
        rows = min(own, max(1, STRIP // run) * run)
        visible = group_causal_mask(count, run, like.device, slice(count - rows, count))
        return cls(like.new_zeros(visible.shape).masked_fill_(~visible, float("-inf")), run)

    def at(self, start: int) -> Self:
        """Return the strips of queries that begin at another position, a multiple of `run`."""
        return replace(self, start=start)

    def whole_groups(self, count: int) -> int:
        """Round a number of latents down to whole groups, but not below one group."""
        return max(1, count // self.run) * self.run

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [b h t e] to keys and values [b h u e] -> [b h t e]."""
        attended, columns, start = [], self.mask.shape[1], self.start
        # Not slices: the gradient of each slice is as large as all queries.
        for part in torch.split(query, self.lengths(query.shape[2]), dim=2):
            rows, stop = part.shape[2], start + part.shape[2]
            keys = min(stop, key.shape[2])
            mask = self.mask[-rows:, columns - stop : columns - stop + keys]
            attended.append(dot_product_attention(part, key[:, :, :keys], value[:, :, :keys], mask))
            start = stop
        return torch.cat(attended, dim=2)

    def lengths(self, count: int) -> list[int]:
        """Return the lengths of the strips of `count` queries. Only the first may be shorter than the mask has rows."""
        whole, rest = divmod(count, len(self.mask))
        return [rest] * bool(rest) + [len(self.mask)] * whole
