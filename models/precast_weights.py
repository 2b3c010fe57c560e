"""Cast weights to the precision of matrix products once, instead of at every use. For inference only."""

from __future__ import annotations

import torch
from torch import nn

from models.heads import AddedHead
from models.layers import CrossAttention, FeedForward, SelfAttention


def precast_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights and biases of the linear maps in all layers, in place, as autocast does at every use.

    Under autocast to the same dtype, the output stays the same to the bit; without autocast the model no longer runs.
    Stems, positions, norms and heads keep their precision: the sums over many layers begin and end there.
    """
    # A head that others have added runs without autocast.
    kept = {part for head in model.modules() if isinstance(head, AddedHead) for part in head.modules()}
    for layer in set(model.modules()) - kept:
        if isinstance(layer, FeedForward | SelfAttention | CrossAttention):
            for linear in layer.children():
                if isinstance(linear, nn.Linear):
                    linear.to(dtype)
