"""Embed the values of patches as tokens.

Tokens have the dtype of the weights, also under autocast, because the residual sums over all layers begin here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.compilable import Region
from models.config import OVERLAP_KERNEL, EncoderConfig
from models.layers import layer_norm


class LinearStem(Region):
    """A linear map and a layer normalisation, as in the reference."""

    whole_groups = False

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(values, width)
        self.norm = layer_norm(width)

    def compute(self, patches: Tensor) -> Tensor:
        """Embed patches [g n p] as tokens [g n c]."""
        return cast(Tensor, self.norm(self.project(patches)).to(self.project.weight.dtype))


class ConvStem(Region):
    """Two convolutions of stride 2 inside each patch, then a linear map.

    Early convolutions help to see small marks (Xiao et al. 2021, arXiv:2106.14881). With kernels of 2 x 2 pixels each
    convolution is one matrix product and nothing crosses the border of a patch, so that groups stay independent.

    No normalisation follows. It would scale all patches to the same strength: a patch with a mark would not stand out,
    and the noise of a plain patch would become as strong as a mark.
    """

    whole_groups = False

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        first, second = config.conv_widths
        self.patch, self.channels = config.patch, config.channels
        self.first = nn.Linear(4 * config.channels, first)
        self.second = nn.Linear(4 * first, second)
        self.project = nn.Linear(second * (config.patch // 4) ** 2, config.token_width)

    def compute(self, patches: Tensor) -> Tensor:
        """Embed patches [g n p] as tokens [g n c]."""
        pattern = "g n (u i y v j x a) -> g n (u v) (i j) (y x a)"
        side = self.patch // 4
        x = rearrange(patches, pattern, u=side, i=2, y=2, v=side, j=2, x=2, a=self.channels)
        x = F.gelu(self.first(x))
        x = F.gelu(self.second(rearrange(x, "g n s t a -> g n s (t a)")))
        return cast(Tensor, self.project(rearrange(x, "g n s a -> g n (s a)")).to(self.project.weight.dtype))


class OverlapStem(Region):
    """log2(patch) convolutions of 4 x 4 pixels and stride 2 over the whole group, then a linear map.

    Each token sees its own patch and patch - 1 pixels more on every side. A stroke looks the same wherever the border
    of a patch cuts it, so that the model needs fewer examples (Xiao et al. 2021, arXiv:2106.14881). Outside the group
    the pixels count as zeros, so that groups stay independent.

    Attributes:
        whole_groups: Whether a token depends on other patches of its group, so that the stem takes whole groups.
    """

    whole_groups = True

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.patch, self.group, self.channels = config.patch, config.group, config.channels
        widths = (config.channels, *config.overlap_widths)
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=OVERLAP_KERNEL, stride=2, padding=1)
            for before, after in pairwise(widths)
        )
        self.project = nn.Linear(widths[-1], config.token_width)

    def compute(self, patches: Tensor) -> Tensor:
        """Embed patches [g n p] as tokens [g n c]."""
        pattern = "g (i j) (y x a) -> g a (i y) (j x)"
        z = rearrange(patches, pattern, i=self.group, j=self.group, y=self.patch, x=self.patch, a=self.channels)
        for layer in self.layers:
            z = F.gelu(layer(z))
        return cast(Tensor, self.project(rearrange(z, "g a i j -> g (i j) a")).to(self.project.weight.dtype))


def build_stem(config: EncoderConfig) -> LinearStem | ConvStem | OverlapStem:
    """Return the stem of a config."""
    if config.stem == "overlap":
        return OverlapStem(config)
    if config.stem == "conv":
        return ConvStem(config)
    return LinearStem(config.values, config.token_width)
