"""Run the global layers and the pooling head over very many latents, piece by piece, in little workspace.

For inference only. All latents still attend to all others: only the queries and the work on single latents are split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor

from models.causal_strips import CausalStrips
from models.groups import Gather, Groups
from models.heads import Head
from models.images import SharedImages, Visible, attend
from models.layers import CrossAttentionLayer, SelfAttention, SelfAttentionLayer, to_autocast_dtype
from models.pooling import AttentionPool, Pooled

PIECE = 8192
"""Number of latents that are processed at once; more are split."""


def apply_piecewise(layer: Callable[..., Tensor], x: Tensor, *arguments: Any, piece: int = PIECE) -> Tensor:
    """Run a layer of `Mix` over x [b t width]; a `models.layers.Call`.

    If t exceeds `piece`, x is overwritten with the result. The memory besides x is then its keys and values, twice the
    size of x, and the workspace for `piece` positions.

    Returns:
        [b t width].

    Raises:
        TypeError: t exceeds `piece`, and the layer is of a kind that `Mix` does not have.
    """
    if x.shape[1] <= piece:
        return layer(x, *arguments)
    parts = pieces(x.shape[1], piece)
    if isinstance(layer, CrossAttentionLayer):
        for part in parts:
            x[:, part] = layer(x[:, part], *arguments)
    elif isinstance(layer, SelfAttentionLayer):
        _self_attention(layer, x, piece, *arguments)
        for part in parts:
            x[:, part] = layer.feed_forward(x[:, part])
    else:
        raise TypeError(f"{type(layer).__name__} cannot run piecewise; pass a self-attention or cross-attention layer")
    return x


def normalize_piecewise(norm: Callable[[Tensor], Tensor], latents: Tensor, piece: int = PIECE) -> Tensor:
    """Normalise latents [g m d]; more than `piece` of them are overwritten with the result."""
    if latents.shape[0] * latents.shape[1] <= piece:
        return norm(latents)
    flat = latents.flatten(0, 1)
    for part in pieces(len(flat), piece):
        flat[part] = norm(flat[part])
    return latents


def pool_piecewise(head: Head, latents: Tensor, groups: Groups, piece: int = PIECE) -> Pooled:
    """Return `head(latents, groups)` for the latents [g m d] of one image.

    A head that others have added gets all latents at once.
    """
    if not isinstance(head, AttentionPool) or latents.shape[0] * latents.shape[1] <= piece:
        return cast(Pooled, head(latents, groups))
    flat = latents.flatten(0, 1)
    weights, pooled = pool_pieces(head, flat, pieces(len(flat), piece))
    evidence = rearrange(weights.mean(dim=-1), "(g m) t -> g m t", g=latents.shape[0])
    return Pooled(head.logits(pooled.flatten(1)[None]), evidence)


def pool_pieces(head: AttentionPool, flat: Tensor, parts: Sequence[slice]) -> tuple[Tensor, Tensor]:
    """Return the weight of each latent [n t h] and the pooled vectors [t h e], for the latents [n d] of one image.

    A pooled vector is the sum of the weighted values of the latents, `head.value`.
    """
    scores = torch.cat([head.scores(flat[part]) for part in parts])  # [n (t h)]
    weights = head.sharpen(scores, scores.new_tensor(len(scores))).softmax(dim=0)
    weights = rearrange(weights, "n (t h) -> n t h", t=len(head.targets))
    pooled = flat.new_zeros(len(head.targets), head.heads, flat.shape[-1] // head.heads)
    for part in parts:
        values = rearrange(head.value(flat[part]), "n (h e) -> n h e", h=head.heads)
        pooled += einsum(weights[part].to(values.dtype), values, "n t h, n h e -> t h e")
    return weights, pooled


def pieces(count: int, piece: int) -> list[slice]:
    """Cut `count` latents into slices of at most `piece`."""
    return [slice(start, min(start + piece, count)) for start in range(0, count, piece)]


def _self_attention(
    layer: SelfAttentionLayer,
    x: Tensor,
    piece: int,
    mask: Visible = None,
    causal: bool = False,
    gather: Gather | None = None,
) -> None:
    """Add the self-attention of a layer to x [b t width], in place; see `SelfAttentionLayer.forward`."""
    if layer.attention is None or layer.norm is None:
        return
    assert not causal, "latents have no causal order within a group"
    attention = layer.attention
    parts = pieces(x.shape[1], mask.whole_groups(piece) if isinstance(mask, CausalStrips) else piece)
    if gather is None:
        key, value = _keys_and_values(attention, layer.norm, x, parts)
    else:
        whole = gather(to_autocast_dtype(layer.norm(x)))
        if isinstance(mask, SharedImages):
            assert mask.strips is None, "latents that several ranks share have no order in a pass in pieces"
            whole, mask = mask.only_image(whole), None
        key, value = _keys_and_values(attention, lambda normal: normal, whole, pieces(whole.shape[1], piece))
        del whole
    inner = key.shape[1] * key.shape[-1]
    weight, bias = attention.query_key_value.weight[:inner], attention.query_key_value.bias[:inner]
    for part in parts:
        query = rearrange(F.linear(layer.norm(x[:, part]), weight, bias), "b t (h e) -> b h t e", h=attention.heads)
        attended = attend(query, key, value, _rows(mask, part))
        x[:, part] += attention.out(rearrange(attended, "b h t e -> b t (h e)"))


def _rows(mask: Visible, part: slice) -> Visible:
    """Return what a part of the queries attends to."""
    if isinstance(mask, CausalStrips):
        return mask.at(part.start)
    assert mask is None or isinstance(mask, Tensor), "a pass in pieces has one image"
    return mask[..., part, :] if mask is not None and mask.shape[-2] > 1 else mask


def _keys_and_values(
    attention: SelfAttention, norm: Callable[[Tensor], Tensor], x: Tensor, parts: list[slice]
) -> tuple[Tensor, Tensor]:
    """Return the keys and values [b h t e] of all positions of x, which must not have changed yet."""
    projection = attention.query_key_value
    inner = projection.out_features // 3
    result: Tensor | None = None
    for part in parts:
        projected = F.linear(norm(x[:, part]), projection.weight[inner:], projection.bias[inner:])
        result = projected.new_empty(*x.shape[:2], 2 * inner) if result is None else result
        result[:, part] = projected
    assert result is not None
    key, value = rearrange(result, "b t (i h e) -> i b h t e", i=2, h=attention.heads)
    return key, value
