"""Attention masks: bool, True where the query (row) may attend to the key (column)."""

from __future__ import annotations

import torch
from torch import Tensor


def causal_mask(count: int, device: torch.device | None = None) -> Tensor:
    """[count count]: each position sees itself and all before it."""
    return torch.ones(count, count, dtype=torch.bool, device=device).tril()


def group_causal_mask(count: int, size: int, device: torch.device | None = None, rows: slice = slice(None)) -> Tensor:
    """[rows count] over runs of `size` positions: each position sees its own run whole, and all earlier runs."""
    run = torch.arange(count, device=device) // size
    return run[rows, None] >= run[None, :]


def local_causal_mask(count: int, size: int, device: torch.device | None = None) -> Tensor:
    """[count count] over runs of `size` positions: each position sees itself and those before it in its own run."""
    run = torch.arange(count, device=device) // size
    return causal_mask(count, device) & (run[:, None] == run[None, :])
