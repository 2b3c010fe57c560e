"""Weights in the precision in which they are multiplied, cast once instead of at every use. Inference only."""

from __future__ import annotations

import torch
from torch import nn

from models.layers import CrossAttention, FeedForward, SelfAttention


def precast_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast what autocast would cast at every use: the weights and biases of the linear maps of all layers, in place.

    Under autocast to the same dtype the model gives the same values to the bit; without autocast it no longer runs.
    Stems, positions, norms and heads, where sums begin and end, stay as they are.
    """
    for layer in model.modules():
        if isinstance(layer, FeedForward | SelfAttention | CrossAttention):
            for linear in layer.children():
                if isinstance(linear, nn.Linear):
                    linear.to(dtype)
