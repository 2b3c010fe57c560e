"""Map tokens to pixels with an output head whose patches overlap.

A linear head predicts each patch from its own token alone, and neighbouring patches may disagree where they meet. Here
each token also predicts a margin beyond its patch. Every pixel is a weighted mean of the predictions of the patches
that reach it: of up to four with a margin of half a patch.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compilable import Region
from models.config import DenoiserConfig
from models.real_tokens import RealTokens


class OverlapHead(nn.Module):
    """A linear map from each token to its patch and a margin around it, windowed and added within each group.

    Windows fall as a raised cosine. Where a patch has no neighbour (at the border of its group, and beside padding),
    its own weight grows, so that the weights of every pixel sum to one. Groups stay independent of each other, and the
    result does not depend on which groups are computed together.

    Attributes:
        margin: Pixels by which a patch is predicted beyond itself, on every side.
    """

    def __init__(self, config: DenoiserConfig, patch: int) -> None:
        super().__init__()
        self.patch, self.margin = patch, config.output_margin
        self.channels = config.out_values // patch**2
        self.project = nn.Linear(config.token_width, config.output_width)
        self.add = OverlapAdd(config.group, patch, self.margin)

    def forward(self, tokens: Tensor, real: RealTokens) -> Tensor:
        """Map tokens, packed from [g n c], to patches, packed from [g n p]."""
        side = window(self.patch, self.margin, self.project.weight)
        weights = torch.outer(side, side).flatten().repeat_interleave(self.channels)  # [values]
        # Weighting the map is cheaper than weighting its results.
        values = F.linear(tokens, self.project.weight * weights[:, None], self.project.bias * weights)
        present = side.new_ones(1, tokens.shape[-2], 1)
        if real.place is not None:
            present = real.unpack(side.new_ones(*tokens.shape[:-1], 1))
        return real.pack(self.add(real.unpack(values), present, side))


class OverlapAdd(Region):
    """Adds windowed patches that overlap and divides by the sum of their windows."""

    def __init__(self, group: int, patch: int, margin: int) -> None:
        super().__init__()
        self.group, self.patch, self.margin = group, patch, margin

    def compute(self, values: Tensor, present: Tensor, side: Tensor) -> Tensor:
        """Return the weighted mean of patches with their margins.

        Args:
            values: Patches with their margins times their windows, zeros for padding: [g n q] with
                q = (patch + 2 margin)^2 values per channel.
            present: 1 for real patches, 0 for padding: [g n 1], or [1 n 1] for all groups.
            side: Window along one side, [patch + 2 margin].

        Returns:
            Patches [g n p]. Pixels that no window reaches are zeros.
        """
        wide = (self.group, self.group, len(side), len(side))
        weights = present.reshape(-1, *wide[:2], 1, 1, 1) * torch.outer(side, side)[..., None]
        total = self._sum(weights)
        mean = self._sum(values.reshape(-1, *wide, values.shape[-1] // len(side) ** 2)) / (total + (total == 0))
        return mean.to(values.dtype).flatten(3).flatten(1, 2)

    def _sum(self, values: Tensor) -> Tensor:
        """Add margins [g i j y x a] to the patches that they overlap: first those above and below, then beside."""
        for places, pixels in ((1, 3), (2, 4)):
            before, own, after = torch.split(values, [self.margin, self.patch, self.margin], dim=pixels)
            gap = self.patch - 2 * self.margin
            none = torch.zeros_like(own.narrow(places, 0, 1).narrow(pixels, 0, self.margin))
            over = torch.cat([none, after.narrow(places, 0, self.group - 1)], dim=places)
            under = torch.cat([before.narrow(places, 1, self.group - 1), none], dim=places)
            middle = [torch.zeros_like(own.narrow(pixels, 0, gap))] if gap else []
            values = own + torch.cat([over, *middle, under], dim=pixels)
        return values


def window(patch: int, margin: int, like: Tensor) -> Tensor:
    """Return the window along one side of a patch with its margins, [patch + 2 margin], in the dtype of `like`.

    It rises over both margins at a border as a raised cosine, so that the windows of neighbours sum to one.
    """
    places = torch.arange(patch + 2 * margin, device=like.device, dtype=like.dtype)
    distance = torch.minimum(places, places.flip(0)) + 0.5  # from the nearer end
    return torch.sin(math.pi / 2 * (distance / (2 * margin)).clamp(max=1)).square()
