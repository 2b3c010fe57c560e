"""Attend within each image of a batch whose images have different sizes, without padding and without a mask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from models.attention import dot_product_attention
from models.causal_strips import CausalStrips


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images one after another in a single sequence.

    Attributes:
        lengths: Number of latents of each image.
        strips: The order of the latents of an image; None if all attend to all.
    """

    lengths: tuple[int, ...]
    strips: CausalStrips | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [1 h t e] to keys and values [1 h t e] -> [1 h t e]."""
        lengths = list(self.lengths)
        each = zip(*(torch.split(values, lengths, dim=2) for values in (query, key, value)), strict=True)
        return torch.cat([attend(q, k, v, self.strips) for q, k, v in each], dim=2)

    def attend_each(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [1 h t e] to keys and values [b h u e] of the images, which are no sequence."""
        queries = torch.split(query, list(self.lengths), dim=2)
        each = zip(queries, torch.split(key, 1), torch.split(value, 1), strict=True)
        return torch.cat([dot_product_attention(q, k, v) for q, k, v in each], dim=2)


@dataclass(frozen=True, slots=True, eq=False)
class SharedImages:
    """Images whose latents several ranks have parts of. Each part is padded to the length of the longest.

    Attributes:
        keys: The keys of each image that are latents.
        strips: The order of the latents of an image; None if all attend to all.
    """

    keys: tuple[Present, ...]
    strips: CausalStrips | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [b h t e] to gathered keys and values [b h u e] -> [b h t e]."""
        each = zip(torch.split(query, 1), torch.split(key, 1), torch.split(value, 1), self.keys, strict=True)
        return torch.cat(
            [
                attend(q, own.select(k), own.select(v), None if self.strips is None else self.strips.at(own.start))
                for q, k, v, own in each
            ]
        )

    def only_image(self, gathered: Tensor) -> Tensor:
        """Return the latents of the only image without padding: [1 (ranks t) d] -> [1 u d]."""
        (own,) = self.keys
        return own.select(gathered[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class Present:
    """The keys of one image that are latents, where several ranks have some and padding each.

    Attributes:
        lengths: Number of latents of each rank.
        start: Number of latents of the ranks before this one: the position of its first query.
    """

    lengths: tuple[int, ...]
    start: int

    @classmethod
    def of(cls, lengths: Iterable[int], rank: int) -> Self:
        """Return the keys for the queries of a rank."""
        lengths = tuple(lengths)
        return cls(lengths, sum(lengths[:rank]))

    def select(self, gathered: Tensor) -> Tensor:
        """Select the latents from the padded parts of all ranks: [1 h (ranks t) e] -> [1 h u e]."""
        parts = gathered.chunk(len(self.lengths), dim=2)
        return torch.cat([part[:, :, :length] for part, length in zip(parts, self.lengths, strict=True)], dim=2)


Visible = Tensor | CausalStrips | Images | SharedImages | None
"""The keys that queries attend to: by a mask, in causal strips, image by image, or all."""


def attend(query: Tensor, key: Tensor, value: Tensor, visible: Visible = None, causal: bool = False) -> Tensor:
    """Return `dot_product_attention` with the keys that are visible."""
    if visible is None or isinstance(visible, Tensor):
        return dot_product_attention(query, key, value, visible, causal)
    return visible.attend(query, key, value)
