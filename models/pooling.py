"""Pool the latents of an image into class logits for each target, and return the pooling weights as evidence.

Shape comments: t is the number of targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn
from torch.nn.functional import linear

from models.groups import Groups
from models.layers import layer_norm
from models.sharpening import PLAIN


class Pooled(NamedTuple):
    """Output of the pooling head.

    Attributes:
        logits: [b k], the logits of all targets side by side.
        evidence: [g m t], pooling weight of each latent for each target, averaged over the heads; sums to 1 per image.
            From a head that has no such weights, [g m 0].
    """

    logits: Tensor
    evidence: Tensor


SHARPNESS = 0.5
"""Scale of the pooling scores per natural logarithm of the number of latents."""


def sharpness(count: Tensor) -> Tensor:
    """Return the factor of the scores before the softmax over `count` latents: SHARPNESS * ln(count).

    A plain softmax dilutes: in an image with a hundred times more groups than in training, the latent of a small object
    would get about a hundredth of the weight (scalable softmax, Nakanishi 2025, arXiv:2501.19399).
    """
    return SHARPNESS * count.clamp(min=1).log()


class AttentionPool(nn.Module):
    """Gated attention pooling over the latents of an image (Ilse et al. 2018, equation 9), with several heads.

    Each target has its own query (its rows of `score`) and its own classifier (its rows of `classify`). All targets
    share the gates and the values.

    Args:
        width: Width of a latent.
        heads: Pooling heads: each has its own weights and pools its own slice of the values.
        targets: Number of classes of each target; their sum is k.

    Attributes:
        sharpening: Factor of the scores by the number of latents. Set it for inference alone: it is measured on trained
            weights.
    """

    def __init__(self, width: int, heads: int, targets: Sequence[int]) -> None:
        super().__init__()
        self.heads, self.targets = heads, tuple(targets)
        self.sharpening = PLAIN
        self.signal = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.score = nn.Linear(width, len(self.targets) * heads)
        self.value = nn.Linear(width, width)
        self.norm = layer_norm(width)
        self.classify = nn.Linear(width, sum(self.targets))

    def forward(self, latents: Tensor, groups: Groups) -> Pooled:
        """Pool normalised latents [g m d] into logits [b k] and evidence [g m t]."""
        m, targets = latents.shape[1], len(self.targets)
        scores = rearrange(groups.gather(groups.arrange(self.scores(latents))), "b g m q -> b q (g m)")
        present = groups.present()
        if present is None:
            scores = self.sharpen(scores, scores.new_full((), scores.shape[-1]))
        else:
            scores = self.sharpen(scores, m * present.sum(dim=1, dtype=scores.dtype)[:, None, None])
            # With minus infinity instead, the softmax would be NaN for an image without any group.
            lowest = torch.finfo(scores.dtype).min
            scores = scores.masked_fill(~repeat(present, "b g -> b 1 (g m)", m=m), lowest)
        weights = groups.own_part(scores.softmax(dim=-1), dim=-1)
        weights = rearrange(weights, "b (t h) n -> b t h n", t=targets)
        values = rearrange(groups.arrange(self.value(latents)), "b g m (h e) -> b h (g m) e", h=self.heads)
        pooled = einsum(weights.to(values.dtype), values, "b t h n, b h n e -> b t h e")
        pooled = rearrange(pooled, "b t h e -> b t (h e)")
        evidence = groups.scatter(rearrange(weights.mean(dim=2), "b t (g m) -> b g m t", m=m))
        return Pooled(self.logits(groups.sum_over_ranks(pooled)), evidence)

    def scores(self, latents: Tensor) -> Tensor:
        """Return the pooling scores of latents: [... d] -> [... (t h)], in the precision of the weights."""
        gated = torch.tanh(self.signal(latents)) * torch.sigmoid(self.gate(latents))
        # The softmax ignores the bias: of its gradient there would be rounding alone, which Adam turns into steps.
        return _exact(gated, self.score.weight, self.score.bias.detach())

    def sharpen(self, scores: Tensor, count: Tensor) -> Tensor:
        """Return scores for the softmax over `count` latents, a tensor that broadcasts to the scores."""
        return self.sharpening.sharpen(scores * sharpness(count), count)

    def logits(self, pooled: Tensor) -> Tensor:
        """Map the pooled vector of each target [b t d] to the logits of its classes -> [b k], side by side.

        They have the precision of the weights.
        """
        normed = self.norm(pooled)
        weights, biases = (torch.split(part, list(self.targets)) for part in (self.classify.weight, self.classify.bias))
        parts = zip(normed.unbind(dim=1), weights, biases, strict=True)
        return torch.cat([_exact(vector, weight, bias) for vector, weight, bias in parts], dim=-1)

    def class_layer(self, target: int) -> tuple[Tensor, Tensor]:
        """Return the weights [k d] and biases [k] of the layer that maps a normalised pooled vector to logits."""
        sizes = list(self.targets)
        return torch.split(self.classify.weight, sizes)[target], torch.split(self.classify.bias, sizes)[target]


def _exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a product in the precision of the weights, whatever autocast says.

    In bf16 a score of 8 is off by up to 0.02, and its share of the softmax by 2 % times the sharpness; logits tie.
    """
    with torch.autocast(x.device.type, enabled=False):
        return linear(x.to(weight.dtype), weight, bias)
