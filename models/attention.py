"""Scaled dot-product attention by the fastest exact way: PyTorch's own, or batched matrix products on a CPU in bf16."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SCORES = 1 << 21
"""Scores that exist at the same time: in two bytes, about what the caches of a core hold."""


def dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """Softmax of query times key over the root of the head width, times value.

    Args:
        query: [b h t e].
        key, value: [b h u e].
        mask: Broadcasts to [b h t u], True where a query (row) may attend.
        causal: Only to keys up to its own number; not together with `mask`.

    Returns:
        [b h t e].
    """
    if not causal and _products_are_faster(query, mask):
        return _by_products(query, key, value, mask)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)


def _products_are_faster(query: Tensor, mask: Tensor | None) -> bool:
    """PyTorch's kernel for CPUs multiplies bf16 in float32 units; matrix products use those for bf16.

    Inference alone: the gradients would need all scores to be kept.
    """
    return (
        not torch.compiler.is_compiling()
        and query.dtype is torch.bfloat16
        and query.device.type == "cpu"
        and torch.is_inference_mode_enabled()
        and (mask is None or mask.shape[-2] == 1)
    )


def _by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """The same with scores of one piece of the queries at a time; `mask` is the same for all queries."""
    (b, h, t, e), u = query.shape, key.shape[2]
    queries, keys, values = query.reshape(b * h, t, e), key.mT.reshape(b * h, e, u), value.reshape(b * h, u, e)
    # What the product of queries and keys is added to; without a mask it is not read.
    start, weight = query.new_empty(()), 0
    if mask is not None:
        hidden = query.new_zeros(()).masked_fill(~mask, torch.finfo(query.dtype).min)
        start, weight = hidden.expand(b, h, 1, u).reshape(b * h, 1, u), 1
    out = query.new_empty(b * h, t, e)
    rows = max(1, min(t, SCORES // u))
    for some in _slices(b * h, max(1, SCORES // (rows * u))):
        for part in _slices(t, rows):
            added = start[some] if mask is not None else start
            scores = torch.baddbmm(added, queries[some, part], keys[some], beta=weight, alpha=e**-0.5)
            out[some, part] = torch.bmm(scores.softmax(dim=-1), values[some])
    return out.view(b, h, t, e)


def _slices(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
