"""The loss of segmentation: cross-entropy of pixels, computed from the counts of their classes in each cell.

All pixels of a cell have one prediction. So the sum over them needs their number by class alone: exactly the loss of
predictions that are enlarged to pixels, in 1 / s² of its memory for cells of s pixels per side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LEAST_DOUBT = 1e-12
"""Least value of 1 - p in the focal loss."""


class CellLoss(NamedTuple):
    """A loss over cells.

    Attributes:
        weights: Weights of the classes [k] float32, on the device of the predictions; None for equal weights.
        focal: Exponent of the focal loss, see `pixel_losses`; 0 for cross-entropy.
    """

    weights: Tensor | None = None
    focal: float = 0.0

    def of(self, logits: Tensor, counts: Tensor) -> Tensor:
        """Return the sum over the labelled pixels of each cell, [...].

        -sum_k w_k n_k (1 - p_k)^f log p_k with n_k pixels of class k, which the model gives the probability p_k; f is
        the exponent of the focal loss (Lin et al. 2017, arXiv:1708.02002, equation 5).

        Args:
            logits: [... k].
            counts: Numbers of labelled pixels, [... k] float32.
        """
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logs = exact.log_softmax(dim=-1)
        if self.focal:
            # Where the model is sure, the power of an exact 0 would have no gradient.
            logs = logs * (-logs.expm1()).clamp(min=LEAST_DOUBT).pow(self.focal)
        return -(self.weighted(counts) * logs).sum(dim=-1)

    def weighted(self, counts: Tensor) -> Tensor:
        """Return counts [... k] times the weights of their classes."""
        return counts if self.weights is None else counts * self.weights.to(counts.device)


def class_weights(kind: str, pixels: Sequence[int]) -> tuple[float, ...]:
    """Return the weight of each class.

    The mean over the labelled pixels is 1, so that the loss stays comparable.

    Args:
        kind: "none", "inverse" (the inverse of the share of the pixels), or "root" (its square root).
        pixels: Number of labelled pixels of each class; each at least 1 but for "none".
    """
    power = {"none": 0.0, "root": 0.5, "inverse": 1.0}[kind]
    total = sum(pixels)
    raw = [(total / max(1, count)) ** power for count in pixels]
    mean = sum(weight * count for weight, count in zip(raw, pixels, strict=True)) / max(1, total)
    return tuple(weight / (mean or 1) for weight in raw)
