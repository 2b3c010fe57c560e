"""Compute what a classifier would say of an image if it had more ground and the same objects.

Only the pool mixes the latents of an image after the encoder, so that a larger image can be imitated there: it has
copies of the latents that have little weight. The images of validation show so how much sharper the softmax has to be
on larger images, see `sharpening.py`.

For inference only. Shape comments: t is the number of targets, q the number of queries (t h), f the number of factors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import einsum, rearrange
from torch import Tensor

from models.piecewise_latents import PIECE, pieces
from models.pooling import AttentionPool, sharpness


@torch.no_grad()
def enlarged_logits(
    head: AttentionPool, latents: Tensor, times: Sequence[float], factors: Sequence[float], piece: int = PIECE
) -> Tensor:
    """Return the logits of an image that is larger by each of `times`, with its scores times each of `factors`.

    A larger image has copies of the latents whose weight in the pool is below the average, for each query of the pool.
    They are computed in the precision of the weights, whatever autocast says, and without `head.sharpening`.

    Args:
        head: The pool.
        latents: [g m d] of one image, normalised.
        times: r numbers of latents by that of the image, each at least 1.
        factors: f factors of the pooling scores.
        piece: Number of latents that are processed at once.

    Returns:
        [r f k].
    """
    flat = latents.flatten(0, 1).to(head.score.weight.dtype)
    parts = pieces(max(len(flat), 1), piece)
    with torch.autocast(flat.device.type, enabled=False):
        scores = torch.cat([head.scores(flat[part]) for part in parts])  # [n q]
        count = scores.new_full((), len(scores))
        rare = (scores * sharpness(count)).softmax(dim=0) < 1 / count
        powers = scores.new_tensor(factors)[:, None, None]
        rows = []
        for each in times:
            copies = 1 + count * (each - 1) / rare.sum(dim=0).clamp(min=1)
            # Of c copies, the weight is that of one latent whose score is greater by ln(c).
            larger = scores * sharpness(count * each) * powers + rare * copies.log()
            rows.append(head.logits(_pooled(head, flat, parts, larger.softmax(dim=1))))
        return torch.stack(rows)


def _pooled(head: AttentionPool, flat: Tensor, parts: Sequence[slice], weights: Tensor) -> Tensor:
    """Return the pooled vectors [f t d] of latents [n d] for weights [f n q]."""
    by_target = rearrange(weights, "f n (t h) -> f n t h", h=head.heads)
    pooled = flat.new_zeros(len(weights), len(head.targets), head.heads, flat.shape[-1] // head.heads)
    for part in parts:
        values = rearrange(head.value(flat[part]), "n (h e) -> n h e", h=head.heads)
        pooled += einsum(by_target[:, part], values, "f n t h, n h e -> f t h e")
    return rearrange(pooled, "f t h e -> f t (h e)")
