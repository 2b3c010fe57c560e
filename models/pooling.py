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


class Pooled(NamedTuple):
    """Output of the pooling head.

    Attributes:
        logits: [b k], the logits of all targets side by side.
        evidence: [g m t], pooling weight of each latent for each target, averaged over the heads; sums to 1 per image.
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


class Arranged(NamedTuple):
    """What a pool knows of the latents of its images.

    Attributes:
        scores: Scores [b q n] of the latents of all ranks, for q = t h queries; see `AttentionPool.scores`.
        values: Values [b h n e] of the latents of this rank.
        total: Number of latents of each image over all ranks; broadcasts to [b 1 1].
        present: [b 1 n] bool, False for padding; None if there is no padding.
    """

    scores: Tensor
    values: Tensor
    total: Tensor
    present: Tensor | None

    def masked(self, scores: Tensor) -> Tensor:
        """Return scores [b q n] with the lowest number in place of padding."""
        # With minus infinity instead, the softmax would be NaN for an image without any group.
        lowest = torch.finfo(scores.dtype).min
        return scores if self.present is None else scores.masked_fill(~self.present, lowest)


def enlarge(arranged: Arranged, weights: Tensor, times: Tensor) -> Tensor:
    """Return the scores [b q n] before the softmax of larger images, with more of what has little weight.

    A larger image holds copies of the latents whose weight is below average, so that a small object becomes as rare as
    in a large image, and has to outweigh all the rest. Of c copies, the weight is that of one latent whose score is
    greater by ln(c).

    Args:
        arranged: Latents of the images.
        weights: Weights [b q n] of the latents, without a gradient.
        times: Size of the larger image by that of the image, [b 1 1], at least 1.
    """
    rare = weights < 1 / arranged.total.clamp(min=1)
    if arranged.present is not None:
        rare = rare & arranged.present
    copies = 1 + arranged.total * (times - 1) / rare.sum(dim=-1, keepdim=True).clamp(min=1)
    scores = arranged.scores * sharpness(arranged.total * times) + rare * copies.to(weights.dtype).log()
    return arranged.masked(scores)


class AttentionPool(nn.Module):
    """Gated attention pooling over the latents of an image (Ilse et al. 2018, equation 9), with several heads.

    Each target has its own query (its rows of `score`) and its own classifier (its rows of `classify`). All targets
    share the gates and the values.

    Args:
        width: Width of a latent.
        heads: Pooling heads: each has its own weights and pools its own slice of the values.
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
        """Pool normalised latents [g m d] into logits [b k] and evidence [g m t]."""
        arranged = self._arrange(latents, groups)
        weights = arranged.masked(arranged.scores * sharpness(arranged.total)).softmax(dim=-1)
        logits, weights = self._pool(weights, arranged.values, groups)
        evidence = rearrange(weights.mean(dim=2), "b t (g m) -> b g m t", m=latents.shape[1])
        return Pooled(logits, groups.scatter(evidence))

    def plain_and_enlarged(self, latents: Tensor, groups: Groups, times: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits [b k] of `forward`, and those of images that are `times` [b] as large, see `enlarge`."""
        arranged = self._arrange(latents, groups)
        weights = arranged.masked(arranged.scores * sharpness(arranged.total)).softmax(dim=-1)
        enlarged = enlarge(arranged, weights.detach(), times[:, None, None]).softmax(dim=-1)
        plain, larger = (self._pool(each, arranged.values, groups)[0] for each in (weights, enlarged))
        return plain, larger

    def _arrange(self, latents: Tensor, groups: Groups) -> Arranged:
        """Compute the scores of the latents of all ranks and the values of those of this rank, by image."""
        m = latents.shape[1]
        scores = rearrange(groups.gather(groups.arrange(self.scores(latents))), "b g m q -> b q (g m)")
        values = rearrange(groups.arrange(self.value(latents)), "b g m (h e) -> b h (g m) e", h=self.heads)
        present = groups.present()
        if present is None:
            return Arranged(scores, values, scores.new_full((), scores.shape[-1]), None)
        count = (m * present.sum(dim=1, dtype=scores.dtype))[:, None, None]
        return Arranged(scores, values, count, repeat(present, "b g -> b 1 (g m)", m=m))

    def _pool(self, weights: Tensor, values: Tensor, groups: Groups) -> tuple[Tensor, Tensor]:
        """Pool values [b h n e] by the weights [b q n] of all ranks -> logits [b k], own weights [b t h n]."""
        weights = rearrange(groups.own_part(weights, dim=-1), "b (t h) n -> b t h n", t=len(self.targets))
        pooled = einsum(weights.to(values.dtype), values, "b t h n, b h n e -> b t h e")
        pooled = rearrange(pooled, "b t h e -> b t (h e)")
        return self.logits(groups.sum_over_ranks(pooled)), weights

    def scores(self, latents: Tensor) -> Tensor:
        """Return the pooling scores of latents: [... d] -> [... (t h)], in the precision of the weights."""
        gated = torch.tanh(self.signal(latents)) * torch.sigmoid(self.gate(latents))
        # The softmax ignores the bias: of its gradient there would be rounding alone, which Adam turns into steps.
        return _exact(gated, self.score.weight, self.score.bias.detach())

    def logits(self, pooled: Tensor) -> Tensor:
        """Map the pooled vector of each target [b t d] to the logits of its classes -> [b k], side by side.

        They have the precision of the weights.
        """
        normed = self.norm(pooled)
        weights, biases = (torch.split(part, list(self.targets)) for part in (self.classify.weight, self.classify.bias))
        parts = zip(normed.unbind(dim=1), weights, biases, strict=True)
        return torch.cat([_exact(vector, weight, bias) for vector, weight, bias in parts], dim=-1)


def _exact(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return a product in the precision of the weights, whatever autocast says.

    In bf16 a score of 8 is off by up to 0.02, and its share of the softmax by 2 % times the sharpness; logits tie.
    """
    with torch.autocast(x.device.type, enabled=False):
        return linear(x.to(weight.dtype), weight, bias)
