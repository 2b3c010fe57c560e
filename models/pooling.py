"""From the latents of an image to its classes, task by task, and how much each latent had to say in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn
from torch.nn.functional import linear

from models.groups import Groups
from models.layers import layer_norm


class Pooled(NamedTuple):
    """Logits [b k] of all tasks side by side, and evidence [g m t]: the share of each latent in the pooled vector of
    each task, summing to 1 per image."""

    logits: Tensor
    evidence: Tensor


SHARPNESS = 0.5
"""What scores are multiplied with, times the logarithm of how many latents share."""


def sharpness(count: Tensor) -> Tensor:
    """How much sharper the softmax over `count` latents is made: in proportion to the logarithm of the count.

    A plain softmax dilutes: in an image of a hundred times more groups than those trained on, what marks a small thing
    would have a hundredth of the share (scalable softmax, Nakanishi 2025, arXiv:2501.19399).
    """
    return SHARPNESS * count.clamp(min=1).log()


class AttentionPool(nn.Module):
    """Gated attention pooling over the latents of an image (Ilse et al. 2018, equation 9), with several heads.

    Every task asks with a query of its own, the rows of `score` that are its: it pools what it needs for its classes,
    the rows of `classify` that are its. What the latents have to offer is the same for all. One task is the special
    case.

    Args:
        width: Of the latents.
        heads: Independent sets of weights; each pools its own slice of the latents.
        targets: Number of classes of each target; their sum is k.
    """

    def __init__(self, width: int, heads: int, targets: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.targets = heads, tuple(targets)
        self.signal = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.score = nn.Linear(width, len(self.targets) * heads)
        self.value = nn.Linear(width, width)
        self.norm = layer_norm(width)
        self.classify = nn.Linear(width, sum(self.targets))

    def forward(self, latents: Tensor, groups: Groups) -> Pooled:
        """[g m d], normalised -> logits [b k] and evidence [g m t]."""
        m, targets = latents.shape[1], len(self.targets)
        scores = rearrange(groups.gather(groups.arrange(self.scores(latents))), "b g m q -> b q (g m)")
        present = groups.present()
        if present is None:
            scores = scores * sharpness(scores.new_full((), scores.shape[-1]))
        else:
            scores = scores * sharpness(m * present.sum(dim=1, dtype=scores.dtype))[:, None, None]
            # Not minus infinity: an image of which no group is left would get NaN.
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~repeat(present, "b g -> b 1 (g m)", m=m), lowest)
        weights = groups.own_part(scores.softmax(dim=-1), dim=-1)
        weights = rearrange(weights, "b (t h) n -> b t h n", t=targets)
        values = rearrange(groups.arrange(self.value(latents)), "b g m (h e) -> b h (g m) e", h=self.heads)
        pooled = rearrange(einsum(weights, values, "b t h n, b h n e -> b t h e"), "b t h e -> b t (h e)")
        evidence = groups.scatter(rearrange(weights.mean(dim=2), "b t (g m) -> b g m t", m=m))
        return Pooled(self.logits(groups.sum_over_ranks(pooled)), evidence)

    def scores(self, latents: Tensor) -> Tensor:
        """[... d] -> [... (t h)]: what the shares are a softmax of."""
        scores: Tensor = self.score(torch.tanh(self.signal(latents)) * torch.sigmoid(self.gate(latents)))
        return scores

    def logits(self, pooled: Tensor) -> Tensor:
        """What each task pooled [b t d] -> logits [b k]: each task's classes from what it pooled itself."""
        normed = self.norm(pooled)
        weights, biases = (torch.split(part, list(self.targets)) for part in (self.classify.weight, self.classify.bias))
        parts = zip(normed.unbind(dim=1), weights, biases, strict=True)
        return torch.cat([linear(vector, weight, bias) for vector, weight, bias in parts], dim=-1)
