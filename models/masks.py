"""Build attention masks: bool, True where the query (row) may attend to the key (column)."""

from __future__ import annotations

import torch
from torch import Tensor


def causal_mask(count: int, device: torch.device | None = None) -> Tensor:
    """Return a mask [count count]: each position sees itself and all earlier positions."""
    return torch.ones(count, count, dtype=torch.bool, device=device).tril()


def group_causal_mask(count: int, size: int, device: torch.device | None = None, rows: slice = slice(None)) -> Tensor:
    """Return a mask [rows count] over runs of `size` positions: each position sees all of its own and earlier runs."""
    run = torch.arange(count, device=device) // size
    return run[rows, None] >= run[None, :]


def local_causal_mask(count: int, size: int, device: torch.device | None = None) -> Tensor:
    """Return a mask [count count] over runs of `size` positions: each sees itself and earlier positions of its run."""
    run = torch.arange(count, device=device) // size
    return causal_mask(count, device) & (run[:, None] == run[None, :])
