"""Two usual denoisers of small images, to compare with: a U-Net and a DiT. Both predict an image from a noisy one."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDED = 128
"""Width of the vector of time and class."""


class Conditioning(nn.Module):
    """Embeds the time in [0, 1] by sines and cosines, and the class; class number `classes` stands for none."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(EMBEDDED, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED))
        self.label = nn.Embedding(classes + 1, EMBEDDED)

    def forward(self, time: Tensor, label: Tensor) -> Tensor:
        """Map times [b] and class numbers [b] to vectors [b d]."""
        rates = torch.exp(-math.log(10_000) * torch.arange(EMBEDDED // 2) / (EMBEDDED // 2))
        angles = 1000 * time[:, None] * rates
        vectors: Tensor = self.time(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.label(label)
        return functional.silu(vectors)


class ResidualBlock(nn.Module):
    """Two convolutions with group normalisation; the vector is added between them (Ho et al., 2006.11239)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, out, 3, padding=1))
        self.vector = nn.Linear(EMBEDDED, out)
        self.two = nn.Sequential(nn.GroupNorm(8, out), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1))
        self.shortcut = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map [b channels height width] to [b out height width]."""
        found: Tensor = self.two(self.one(x) + self.vector(vector)[..., None, None]) + self.shortcut(x)
        return found


class SpatialAttention(nn.Module):
    """Self-attention over all places of a small map."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map [b channels height width] to the same shape."""
        places = self.norm(x).flatten(2).transpose(1, 2)
        found, _ = self.attention(places, places, places, need_weights=False)
        together: Tensor = x + found.transpose(1, 2).reshape(x.shape)
        return together


class DenoisingUNet(nn.Module):
    """A U-Net with one residual block per resolution on each way, and attention at the lowest."""

    def __init__(self, classes: int, widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        self.vector, self.start = Conditioning(classes), nn.Conv2d(1, widths[0], 3, padding=1)
        steps = [(widths[0], widths[0]), *pairwise(widths)]
        self.down = nn.ModuleList(ResidualBlock(a, b) for a, b in steps)
        self.middle = nn.ModuleList([ResidualBlock(widths[-1], widths[-1]), SpatialAttention(widths[-1])])
        self.up = nn.ModuleList(ResidualBlock(2 * b, a) for a, b in reversed(steps))
        self.head = nn.Sequential(nn.GroupNorm(8, widths[0]), nn.SiLU(), nn.Conv2d(widths[0], 1, 3, padding=1))

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Map noisy images [b 1 height width] to images."""
        vector, x, kept = self.vector(time, label), self.start(x), list[Tensor]()
        for level, block in enumerate(self.down):
            x = block(functional.avg_pool2d(x, 2) if level else x, vector)
            kept.append(x)
        x = self.middle[1](self.middle[0](x, vector))
        for level, block in enumerate(self.up):
            if level:
                x = functional.interpolate(x, scale_factor=2.0)
            x = block(torch.cat([x, kept.pop()], dim=1), vector)
        image: Tensor = self.head(x)
        return image


class AdaptiveBlock(nn.Module):
    """A transformer block whose norms and branches follow the vector: adaLN-Zero (Peebles & Xie, 2212.09748, 3.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(EMBEDDED, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Map tokens [b n width] to the same shape."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.modulation(vector)[:, None].chunk(6, dim=-1)
        y = self.norms[0](x) * (1 + scale) + shift
        x = x + gate * self.attention(y, y, y, need_weights=False)[0]
        found: Tensor = x + gate_mlp * self.mlp(self.norms[1](x) * (1 + scale_mlp) + shift_mlp)
        return found


class DiT(nn.Module):
    """A diffusion transformer over the patches of an image, with learned positions."""

    def __init__(
        self, classes: int, side: int = 32, patch: int = 4, width: int = 64, depth: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        self.patch, self.vector = patch, Conditioning(classes)
        self.start = nn.Conv2d(1, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn((side // patch) ** 2, width))
        self.blocks = nn.ModuleList(AdaptiveBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, patch * patch)

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """Map noisy images [b 1 height width] to images."""
        vector, tokens = self.vector(time, label), self.start(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens, vector)
        pixels = self.head(self.norm(tokens)).transpose(1, 2)
        return functional.fold(pixels, x.shape[-2:], self.patch, stride=self.patch)
