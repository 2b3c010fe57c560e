"""Compute scaled dot-product attention with PyTorch's kernel or, in bf16 on a CPU, with faster matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCORES = 1 << 21
"""Largest number of attention scores in memory at once: in bf16 they about fill the caches of a core."""


def dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Return softmax(query @ key.T / sqrt(e)) @ value.

    Args:
        query: [b h t e].
        key, value: [b h u e].
        mask: Broadcasts to [b h t u]: bool, True where the query (row) may attend to the key (column), or added to the
            scores.
        causal: Whether query i attends to keys 0 to i only; cannot be combined with `mask`.

    Returns:
        [b h t e].
    """
    if mask is None and key.shape[2] == 1:
        # A single key has the weight 1. The gradients of query and key are zero, and kernels would leave rounding.
        return value.expand(query.shape)
    if mask is None and not causal and _products_are_faster(query):
        return _by_products(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


def _products_are_faster(query: Tensor) -> bool:
    """Return whether `_by_products` is the faster way to compute this attention.

    PyTorch's fused CPU kernel multiplies bf16 values in float32 units; matrix products use the bf16 units. This holds
    for inference only, because a backward pass would need all scores.
    """
    return (
        not torch.compiler.is_compiling()
        and query.dtype is torch.bfloat16
        and query.device.type == "cpu"
        and torch.is_inference_mode_enabled()
    )


def _by_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute `dot_product_attention` for a few queries at a time, so that at most about `SCORES` scores exist."""
    (b, h, t, e), u = query.shape, key.shape[2]
    queries, keys, values = query.reshape(b * h, t, e), key.mT.reshape(b * h, e, u), value.reshape(b * h, u, e)
    # With beta=0, baddbmm does not read its first argument.
    unread = query.new_empty(())
    out = query.new_empty(b * h, t, e)
    rows = max(1, min(t, SCORES // u))
    for batch in _slices(b * h, max(1, SCORES // (rows * u))):
        for part in _slices(t, rows):
            scores = torch.baddbmm(unread, queries[batch, part], keys[batch], beta=0, alpha=e**-0.5)
            out[batch, part] = torch.bmm(scores.softmax(dim=-1), values[batch])
    return out.view(b, h, t, e)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
