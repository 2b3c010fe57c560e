"""Split the logits of an image into the contributions of its latents. They sum to the logit without its bias.

The pooled vector is a weighted sum of the values of the latents, so that a logit is linear in each of them but for the
layer normalisation between the two. The contribution of a latent is its weighted value times the gradient of the logit
at the pooled vector (gradient x input), with the standard deviation of the normalisation held at its value: otherwise
the logit does not change with the length of the pooled vector, and the contributions of all latents sum to zero (Ali et
al. 2022, arXiv:2202.07304, equation 14). Instances whose contributions add up to the logit: Javed et al. 2022,
arXiv:2206.01794.

For inference only. Shape comments: t is the number of targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import einsum, rearrange
from torch import Tensor

from models.piecewise_latents import PIECE, pieces, pool_pieces
from models.pooling import AttentionPool


class LatentContributions(NamedTuple):
    """The logits of some classes as sums.

    Attributes:
        values: [g m k], contribution of each latent to the logit of each class.
        bias: [k], the part of each logit that no latent contributes.
    """

    values: Tensor
    bias: Tensor


@torch.no_grad()
def contributions(
    head: AttentionPool, latents: Tensor, target: int, classes: Sequence[int], relative: bool, piece: int = PIECE
) -> LatentContributions:
    """Split the logits of some classes of a target into the contributions of the latents of one image.

    They are computed in the precision of the weights, whatever autocast says.

    Args:
        head: The pool.
        latents: [g m d], normalised.
        target: Number of the target.
        classes: Numbers of k classes within the target.
        relative: Whether logits count from the mean logit of all classes of the target, which a softmax ignores.
        piece: Number of latents that are processed at once.
    """
    flat = latents.flatten(0, 1).to(head.score.weight.dtype)
    parts = pieces(len(flat), piece)
    with torch.autocast(flat.device.type, enabled=False):
        weights, pooled = pool_pieces(head, flat, parts)
        directions, bias = _directions(head, pooled[target].flatten(), target, classes, relative)
        by_head = rearrange(directions, "k (h e) -> k h e", h=head.heads)
        values = flat.new_empty(len(flat), len(classes))
        for part in parts:
            each = rearrange(head.value(flat[part]), "n (h e) -> n h e", h=head.heads)
            values[part] = einsum(weights[part, target], each, by_head, "n h, n h e, k h e -> n k")
    return LatentContributions(rearrange(values, "(g m) k -> g m k", m=latents.shape[1]), bias)


def _directions(
    head: AttentionPool, pooled: Tensor, target: int, classes: Sequence[int], relative: bool
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the logit of each class at the pooled vector [d], -> [k d], and the rest of the logit [k].

    The standard deviation of the pooled vector is held, its mean is not.
    """
    weight, bias = head.class_layer(target)
    if relative:
        weight, bias = weight - weight.mean(dim=0), bias - bias.mean()
    weight, bias = weight[list(classes)], bias[list(classes)]
    deviation = (pooled.var(correction=0) + head.norm.eps).sqrt()
    scaled = weight * head.norm.weight / deviation
    return scaled - scaled.mean(dim=-1, keepdim=True), bias + weight @ head.norm.bias
