"""Define the pre-norm residual layers of all models: feed-forward, self- and cross-attention (FIT, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import dot_product_attention
from models.cache import KeyValues
from models.compilable import Region
from models.groups import Gather
from models.images import Images, Visible, attend
from models.real_tokens import RealTokens

EPSILON = 1e-6
"""Epsilon of every layer normalisation, as in the reference."""

T = TypeVar("T")

Call = Callable[..., Tensor]
"""Runs a layer: called with the layer and its arguments. A driver that recomputes layers passes its own."""


def direct(layer: Callable[..., T], *arguments: Any) -> T:
    """Call the layer without recomputation: the default `Call`."""
    return layer(*arguments)


@runtime_checkable
class GroupCall(Protocol):
    """A `Call` whose results depend on the groups that a layer runs over."""

    def __call__(self, layer: Callable[..., Tensor], *arguments: Any) -> Tensor: ...

    def of_groups(self, groups: Tensor | slice) -> Call:
        """Return the call for some of the groups, given by their indices [r] int64 or as a slice."""


def for_groups(call: Call, real: RealTokens) -> list[Call]:
    """Return a call for the groups of each shape."""
    if not isinstance(call, GroupCall):
        return [call] * (max(1, len(real.shapes)) + real.empty)
    calls = [call if shape.groups is None else call.of_groups(shape.groups) for shape in real.shapes] or [call]
    return calls + [call.of_groups(slice(0, 0))] * real.empty


def to_autocast_dtype(values: Tensor) -> Tensor:
    """Cast values as autocast would for a matrix product: in bf16 there is half as much to exchange."""
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else values


def layer_norm(width: int) -> nn.LayerNorm:
    """Return the layer normalisation that all layers use."""
    return nn.LayerNorm(width, eps=EPSILON)


def _split(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split [b t (i h e)] into i tensors [b h t e].

    These are plain views, because einops would parse its pattern for every token of a decoder and in every graph.
    """
    b, t, width = projected.shape
    return projected.reshape(b, t, parts, heads, width // (parts * heads)).permute(2, 0, 3, 1, 4).unbind(0)


def _fused(x: Tensor, weight: Tensor, bias: Tensor, parts: int) -> Tensor:
    """Project x [b t width] to the parts of attention, of which the last two are keys and values -> [b t (parts h e)].

    The bias of the keys gets no gradient. It adds the same number to all scores of a query, and a softmax ignores that:
    of its gradient there is only rounding, which Adam would turn into steps of the size of the learning rate.
    """
    if torch.is_grad_enabled() and bias.requires_grad:
        *query, key, value = bias.chunk(parts)
        bias = torch.cat([*query, key.detach(), value])
    return F.linear(x, weight, bias)


def _join(attended: Tensor) -> Tensor:
    """Join heads: [b h t e] -> [b t (h e)]."""
    return attended.transpose(1, 2).flatten(2)


class FeedForward(nn.Module):
    """Computes x + down(gelu(up(norm(x)))) with the exact GELU."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.up = nn.Linear(width, ratio * width)
        self.down = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.down(F.gelu(self.up(self.norm(x)))))


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * (width // heads)
        self.query_key_value = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor, mask: Visible = None, causal: bool = False) -> Tensor:
        """Attend within x: [b t width] -> [b t width].

        Args:
            x: Sequences [b t width].
            mask: Keys that each position attends to; None for all. A tensor broadcasts to [b h t t]: bool, True where
                the query (row) may attend to the key (column), or added to the scores.
            causal: Whether each position attends to itself and earlier positions only; cannot be combined with `mask`.
        """
        fused = _fused(x, self.query_key_value.weight, self.query_key_value.bias, 3)
        query, key, value = _split(fused, 3, self.heads)
        return cast(Tensor, self.out(_join(attend(query, key, value, mask, causal))))

    def across(self, x: Tensor, whole: Tensor, mask: Visible = None) -> Tensor:
        """Attend from x [b t width], a part of a sequence, to the whole sequence [b u width] -> [b t width]."""
        inner = self.query_key_value.out_features // 3
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        (query,) = _split(F.linear(x, weight[:inner], bias[:inner]), 1, self.heads)
        key, value = _split(_fused(whole, weight[inner:], bias[inner:], 2), 2, self.heads)
        return cast(Tensor, self.out(_join(attend(query, key, value, mask))))

    def extend(self, x: Tensor, cache: KeyValues) -> Tensor:
        """Append x [b t width] to the sequence in `cache` and attend from x to all of it -> [b t width]."""
        query, key, value = _split(self.query_key_value(x), 3, self.heads)
        return cast(Tensor, self.out(_join(F.scaled_dot_product_attention(query, *cache.append(key, value)))))


class CrossAttention(nn.Module):
    """Multi-head attention to another sequence, with one fused projection to keys and values."""

    def __init__(self, width: int, source_width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * head_width
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(source_width, 2 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, x: Tensor, source: Tensor, images: Images | None = None) -> Tensor:
        """Attend from x [b t width] to source [b u source_width] -> [b t width].

        With `images`, x [1 t width] holds all of them in one sequence, and each attends to its own source.
        """
        return self.attend(x, *self.keys_values(source), images)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Project source [b u source_width] to keys and values [b h u e] for `attend`."""
        key, value = _split(_fused(source, self.key_value.weight, self.key_value.bias, 2), 2, self.heads)
        return key, value

    def attend(self, x: Tensor, key: Tensor, value: Tensor, images: Images | None = None) -> Tensor:
        """Attend from x [b t width] to the result of `keys_values` -> [b t width]; for `images` see `forward`."""
        (query,) = _split(self.query(x), 1, self.heads)
        each = dot_product_attention if images is None else images.attend_each
        return cast(Tensor, self.out(_join(each(query, key, value))))

    def weights(self, x: Tensor, source: Tensor) -> Tensor:
        """Return the attention weights [b t u] of `forward`, averaged over the heads."""
        (query,) = _split(self.query(x), 1, self.heads)
        key, _ = self.keys_values(source)
        scores = query @ key.mT * query.shape[-1] ** -0.5
        weights: Tensor = scores.softmax(dim=-1).mean(dim=1)
        return weights


class SelfAttentionLayer(Region):
    """Self-attention and a feed-forward layer; only the feed-forward layer if `attention` is False."""

    def __init__(self, width: int, heads: int, ratio: int, attention: bool = True) -> None:
        super().__init__()
        self.norm = layer_norm(width) if attention else None
        self.attention = SelfAttention(width, heads) if attention else None
        self.feed_forward = FeedForward(width, ratio)

    def forward(self, x: Tensor, mask: Visible = None, causal: bool = False, gather: Gather | None = None) -> Tensor:
        """Run the layer: [b t width] -> [b t width].

        Args:
            x: Sequences [b t width], or the part of them that this rank has.
            mask: See `SelfAttention.forward`.
            causal: Whether each position attends to itself and earlier positions only; ignored with `gather`.
            gather: Gathers the parts of all ranks, [b t width] -> [b u width]: x then attends to the whole sequence.
        """
        if gather is not None:
            return self._across(x, mask, gather)
        if mask is None or isinstance(mask, Tensor):
            return super().forward(x, mask, causal)
        # The number of strips or images varies: a graph would be one of their sizes.
        return self.compute(x, mask, causal)

    def compute(self, x: Tensor, mask: Visible = None, causal: bool = False) -> Tensor:
        """Run `forward` without `gather`."""
        if self.attention is not None and self.norm is not None:
            x = x + self.attention(self.norm(x), mask, causal)
        return cast(Tensor, self.feed_forward(x))

    def _across(self, x: Tensor, mask: Visible, gather: Gather) -> Tensor:
        if self.attention is not None and self.norm is not None:
            normal = self.norm(x)
            x = x + self.attention.across(normal, gather(to_autocast_dtype(normal)), mask)
        return cast(Tensor, self.feed_forward(x))

    def extend(self, x: Tensor, cache: KeyValues) -> Tensor:
        """Run the layer for x [b t width], the next positions of a sequence; see `SelfAttention.extend`."""
        if self.attention is not None and self.norm is not None:
            x = x + self.attention.extend(self.norm(x), cache)
        return cast(Tensor, self.feed_forward(x))


class CrossAttentionLayer(Region):
    """Cross-attention from x to a source, and optionally a feed-forward layer.

    Args:
        width: Width of x.
        source_width: Width of the source.
        heads: Attention heads.
        head_width: Width of a head.
        norm_source: Whether to normalise the source.
        ratio: Hidden width of the feed-forward layer divided by `width`; None for no feed-forward layer.
    """

    def __init__(
        self, width: int, source_width: int, heads: int, head_width: int, norm_source: bool, ratio: int | None = None
    ) -> None:
        super().__init__()
        self.norm = layer_norm(width)
        self.source_norm = layer_norm(source_width) if norm_source else nn.Identity()
        self.attention = CrossAttention(width, source_width, heads, head_width)
        self.feed_forward = FeedForward(width, ratio) if ratio is not None else nn.Identity()

    def forward(self, x: Tensor, source: Tensor, images: Images | None = None) -> Tensor:
        """Run the layer from x [b t width] to source [b u source_width] -> [b t width].

        With `images`, x [1 t width] holds all of them in one sequence, and each attends to its own source.
        """
        # The number of images varies: a graph would be one of their sizes.
        return super().forward(x, source) if images is None else self.compute(x, source, images)

    def compute(self, x: Tensor, source: Tensor, images: Images | None = None) -> Tensor:
        """Run `forward`."""
        return cast(Tensor, self.feed_forward(x + self.attention(self.norm(x), self.source_norm(source), images)))

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise and project source [b u source_width] to keys and values [b h u e] for `attend`."""
        return self.attention.keys_values(self.source_norm(source))

    def attend(self, x: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what `forward` returns for the source of these keys and values."""
        return cast(Tensor, self.feed_forward(x + self.attention.attend(self.norm(x), key, value)))

    def weights(self, x: Tensor, source: Tensor) -> Tensor:
        """Return the attention weights [b t u], averaged over the heads; they sum to 1 over u."""
        return self.attention.weights(self.norm(x), self.source_norm(source))


class Stack(nn.Module):
    """A sequence of self-attention layers; the identity if `depth` is 0."""

    def __init__(self, depth: int, width: int, heads: int, ratio: int, attention: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SelfAttentionLayer(width, heads, ratio, attention) for _ in range(depth))

    def __iter__(self) -> Iterator[SelfAttentionLayer]:
        return iter(cast("Iterator[SelfAttentionLayer]", self.layers))

    def forward(
        self,
        x: Tensor,
        mask: Visible = None,
        causal: bool = False,
        call: Call = direct,
        gather: Gather | None = None,
    ) -> Tensor:
        """Run all layers with `call`; see `SelfAttentionLayer.forward` for the other arguments."""
        for layer in self.layers:
            x = call(layer, x, mask, causal) if gather is None else call(layer, x, mask, causal, gather)
        return x
