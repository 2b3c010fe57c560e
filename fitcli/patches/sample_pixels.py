"""Normalises random bytes as pixels, for the sample steps and passes of tasks."""

from __future__ import annotations

import torch
from torch import Tensor

from fitcli.patches.cutting import normalize

MEAN, STD = 128.0, 64.0
"""Approximate mean and standard deviation of random bytes."""


def as_pixels(patches: Tensor) -> Tensor:
    """Return bytes [... p] as normalised floats."""
    mean, std = (torch.full((1,), value, device=patches.device) for value in (MEAN, STD))
    return normalize(patches, mean, std)
