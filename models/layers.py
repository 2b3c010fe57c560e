"""The parts: feed-forward layers, self-attention and cross-attention layers. Pre-norm, residual (FIT, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import dot_product_attention
from models.cache import KeyValues
from models.compilable import Region
from models.groups import Gather
from models.masks import causal_mask

EPSILON = 1e-6
"""Of every layer normalisation, as in the reference."""


T = TypeVar("T")

Call = Callable[..., Tensor]
"""How a layer is run: given the layer and what to call it with. A driver that recomputes layers passes its own."""


def direct(layer: Callable[..., T], *arguments: Any) -> T:
    """Just call it."""
    return layer(*arguments)


def to_autocast_dtype(values: Tensor) -> Tensor:
    """Values in the precision in which a matrix product would take them: half as much to send, where that is bf16."""
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values


def layer_norm(width: int) -> nn.LayerNorm:
    """The layer normalisation used everywhere."""
    return nn.LayerNorm(width, eps=EPSILON)


def _split(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[b t (i h e)] -> i times [b h t e].

    Plain views: einops would parse its patterns for every token of a decoder, and for every graph that is compiled.
    """
    b, t, width = projected.shape
    return projected.reshape(b, t, parts, heads, width // (parts * heads)).permute(2, 0, 3, 1, 4).unbind(0)


def _join(attended: Tensor) -> Tensor:
    """[b h t e] -> [b t (h e)]."""
    return attended.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """x + down(gelu(up(norm(x)))), exact GELU."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.down(F.gelu(self.up(self.norm(x)))))


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself, with one fused projection to queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * (width // heads)
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """[b t width] -> [b t width]. `mask` broadcasts to [b h t t], True where a query (row) may attend."""
        if causal and mask is not None:
            # Not every kernel takes both.
            mask, causal = mask & causal_mask(x.shape[1], x.device), False
        query, key, value = _split(self.query_key_value(x), 3, self.heads)
        return cast(Tensor, self.out(_join(dot_product_attention(query, key, value, mask, causal))))

    def across(self, x: Tensor, everyone: Tensor, mask: Tensor | None = None) -> Tensor:
        """[b t width], [b u width] -> [b t width]: part of a sequence attends to all of it, `everyone`."""
        inner = self.query_key_value.out_features // 3
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        (query,) = _split(F.linear(x, weight[:inner], bias[:inner]), 1, self.heads)
        key, value = _split(F.linear(everyone, weight[inner:], bias[inner:]), 2, self.heads)
        return cast(Tensor, self.out(_join(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))))

    def extend(self, x: Tensor, seen: KeyValues) -> Tensor:
        """[b t width] -> [b t width]: what comes next in a sequence attends to itself and to all that `seen` holds."""
        query, key, value = _split(self.query_key_value(x), 3, self.heads)
        return cast(Tensor, self.out(_join(F.scaled_dot_product_attention(query, *seen.append(key, value)))))


class CrossAttention(nn.Module):
    """Multi-head attention of queries to another sequence, with one fused projection to keys and values."""

    def __init__(self, width: int, source_width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(source_width, 2 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """[b t width], [b u source_width] -> [b t width]. `mask` broadcasts to [b h t u], True where allowed."""
        return self.attend(x, *self.keys_values(source), mask)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """[b u source_width] -> keys and values [b h u e], to be attended to once or often."""
        key, value = _split(self.key_value(source), 2, self.heads)
        return key, value

    def attend(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """[b t width] -> [b t width], where `keys_values` gave the keys and values."""
        (query,) = _split(self.query(x), 1, self.heads)
        return cast(Tensor, self.out(_join(dot_product_attention(query, key, value, mask))))

    def weights(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query attends to: [b t u], the mean over the heads of the softmax that `forward` applies."""
        (query,) = _split(self.query(x), 1, self.heads)
        key, _ = _split(self.key_value(source), 2, self.heads)
        scores = query @ key.mT * query.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        weights: Tensor = scores.softmax(dim=-1).mean(dim=1)
        return weights


class SelfAttentionLayer(Region):
    """Self-attention and a feed-forward layer; the latter alone where `attention` is False."""

    def __init__(self, width: int, heads: int, ratio: int, attention: bool = True) -> None:
        super().__init__()
        self.norm = layer_norm(width) if attention else None
        self.attention = SelfAttention(width, heads) if attention else None
        self.feed_forward = FeedForward(width, ratio)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, causal: bool = False, gather: Gather | None = None
    ) -> Tensor:
        """[b t width] -> [b t width].

        `gather` makes [b u width] of it, where x is part of a sequence: the part attends to all of that.
        """
        return super().forward(x, mask, causal) if gather is None else self._across(x, mask, gather)

    def compute(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """`forward`, where x is all of a sequence."""
        if self.attention is not None and self.norm is not None:
            x = x + self.attention(self.norm(x), mask, causal)
        return cast(Tensor, self.feed_forward(x))

    def _across(self, x: Tensor, mask: Tensor | None, gather: Gather) -> Tensor:
        if self.attention is not None and self.norm is not None:
            normal = self.norm(x)
            x = x + self.attention.across(normal, gather(to_autocast_dtype(normal)), mask)
        return cast(Tensor, self.feed_forward(x))

    def extend(self, x: Tensor, seen: KeyValues) -> Tensor:
        """[b t width] -> [b t width], what comes next in a sequence, see `SelfAttention.extend`."""
        if self.attention is not None and self.norm is not None:
            x = x + self.attention.extend(self.norm(x), seen)
        return cast(Tensor, self.feed_forward(x))


class CrossAttentionLayer(Region):
    """Queries attend to a source; a feed-forward layer follows where `ratio` is given.

    Args:
        width, source_width: Of the queries and of what they attend to.
        heads, head_width: Of the attention.
        norm_source: Normalise the source.
        ratio: Of the feed-forward layer; None without one.
    """

    def __init__(
        self, width: int, source_width: int, heads: int, head_width: int, norm_source: bool, ratio: int | None = None
    ) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.source_norm = layer_norm(source_width) if norm_source else nn.Identity()
        self.attention = CrossAttention(width, source_width, heads, head_width)
        self.feed_forward = FeedForward(width, ratio) if ratio is not None else nn.Identity()

    def compute(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """[b t width], [b u source_width] -> [b t width]. `mask` broadcasts to [b h t u], True where allowed."""
        return cast(Tensor, self.feed_forward(x + self.attention(self.norm(x), self.source_norm(source), mask)))

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """[b u source_width] -> keys and values [b h u e] for `attend`."""
        return self.attention.keys_values(self.source_norm(source))

    def attend(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What `forward` gives for the source of these keys and values."""
        return cast(Tensor, self.feed_forward(x + self.attention.attend(self.norm(x), key, value)))

    def weights(self, x: Tensor, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """What each query attends to: [b t u], summing to 1 over u."""
        return self.attention.weights(self.norm(x), self.source_norm(source), mask)


class Stack(nn.Module):
    """Self-attention layers one after the other; the identity where there are none."""

    def __init__(self, depth: int, width: int, heads: int, ratio: int, attention: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SelfAttentionLayer(width, heads, ratio, attention) for _ in range(depth))

    def __iter__(self) -> Iterator[SelfAttentionLayer]:
        return iter(cast("Iterator[SelfAttentionLayer]", self.layers))

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        causal: bool = False,
        call: Call = direct,
        gather: Gather | None = None,
    ) -> Tensor:
        for layer in self.layers:
            x = call(layer, x, mask, causal) if gather is None else call(layer, x, mask, causal, gather)
        return x
