"""From the latents of an image to its classes, and how much each latent had to say in it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from models.groups import Groups
from models.layers import layer_norm


class Pooled(NamedTuple):
    """Logits [b k], and evidence [g m]: the share of each latent in the pooled vector, summing to 1 per image."""

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

    Args:
        width: Of the latents.
        heads: Independent sets of weights; each pools its own slice of the latents.
        classes: k.
    """

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.signal = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.score = nn.Linear(width, heads)
        self.value = nn.Linear(width, width)
        self.norm = layer_norm(width)
        self.classify = nn.Linear(width, classes)

    def forward(self, latents: Tensor, groups: Groups) -> Pooled:
        """[g m d], normalised -> logits [b k] and evidence [g m]."""
        m = latents.shape[1]
        scores = rearrange(groups.gather(groups.arrange(self.scores(latents))), "b g m h -> b h (g m)")
        present = groups.present()
        if present is None:
            scores = scores * sharpness(scores.new_tensor(scores.shape[-1]))
        else:
            scores = scores * sharpness(m * present.sum(dim=1, dtype=scores.dtype))[:, None, None]
            # Not minus infinity: an image of which no group is left would get NaN.
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~repeat(present, "b g -> b 1 (g m)", m=m), lowest)
        weights = groups.own(scores.softmax(dim=-1), dim=-1)  # [b h (g m)]
        values = rearrange(groups.arrange(self.value(latents)), "b g m (h e) -> b h (g m) e", h=self.heads)
        pooled = groups.total(rearrange(einsum(weights, values, "b h t, b h t e -> b h e"), "b h e -> b (h e)"))
        evidence = groups.scatter(rearrange(weights.mean(dim=1), "b (g m) -> b g m", m=m))
        return Pooled(self.classify(self.norm(pooled)), evidence)

    def scores(self, latents: Tensor) -> Tensor:
        """[... d] -> [... h]: what the shares are a softmax of."""
        scores: Tensor = self.score(torch.tanh(self.signal(latents)) * torch.sigmoid(self.gate(latents)))
        return scores
