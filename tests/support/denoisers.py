"""Makes a small denoiser with random weights, groups of images of different sizes, and normal numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from fitcli.patches.cutting import groups_of
from fitcli.patches.grid import PatchGrid
from models.build import build
from models.config import DenoiserConfig
from models.denoiser import FITDenoiser
from models.groups import Groups

CONFIG = DenoiserConfig(
    plan="(1)1(1)",
    tokens=4,
    latents=2,
    token_width=16,
    latent_width=16,
    token_heads=2,
    latent_heads=2,
    values=3,
    out_values=3,
    condition_width=5,
    self_condition=True,
)


def random_denoiser() -> FITDenoiser:
    """Return the model in float64. Every part of it matters, unlike in one that has just been initialised."""
    model = build(CONFIG).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model.eval()


def ragged() -> list[Groups]:
    """Return the groups of three images of different sizes, two of them with padding."""
    return [groups_of(PatchGrid(size, patch=1, group=2)) for size in ((3, 3), (4, 4), (1, 5))]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Return standard normal numbers, float64."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
