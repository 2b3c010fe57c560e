"""From the values of a patch to a token."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from models.config import EncoderConfig
from models.layers import layer_norm


class LinearStem(nn.Module):
    """A linear map and a layer normalisation: the stem of the reference."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(values, width)
        self.norm = layer_norm(width)

    def forward(self, patches: Tensor) -> Tensor:
        """[g n p] -> [g n c]."""
        return cast(Tensor, self.norm(self.project(patches)))


class ConvStem(nn.Module):
    """Two stride-2 convolutions inside each patch, then a linear map and a layer normalisation.

    Local filters see a small mark wherever in its patch it lies (Xiao et al. 2021, "Early convolutions help
    transformers see better"). Nothing crosses the border of a patch, so groups can still be computed apart.
    """

    def __init__(self, patch: int, channels: int, width: int) -> None:
        super().__init__()
        hidden = max(width // 4, 8)
        self.patch, self.channels = patch, channels
        self.first = nn.Conv2d(channels, hidden, kernel_size=3, stride=2, padding=1)
        self.second = nn.Conv2d(hidden, hidden, kernel_size=3, stride=2, padding=1)
        self.project = nn.Linear(hidden * (patch // 4) ** 2, width)
        self.norm = layer_norm(width)

    def forward(self, patches: Tensor) -> Tensor:
        """[g n p] -> [g n c]."""
        count = patches.shape[0]
        x = rearrange(patches, "g n (y x a) -> (g n) a y x", y=self.patch, a=self.channels)
        x = F.gelu(self.second(F.gelu(self.first(x))))
        return cast(Tensor, self.norm(self.project(rearrange(x, "(g n) a y x -> g n (a y x)", g=count))))


def build_stem(config: EncoderConfig) -> LinearStem | ConvStem:
    """The stem that the config asks for."""
    if config.stem == "conv":
        return ConvStem(config.patch, config.channels, config.token_width)
    return LinearStem(config.values, config.token_width)
