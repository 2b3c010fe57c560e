"""The loss of a classifier with one class per image."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def mean_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Return the weighted sum of the cross-entropies over the number of images, in nats.

    The divisor is the number of images, not the sum of their weights, which would cancel the weights in a batch of one
    image and shift them in every small batch. With class weights of mean 1 over the data set, the mean is the same.

    Args:
        logits: [b k].
        labels: [b] int64.
        weights: Class weights [k]; None for equal weights.
        smoothing: Share of the label that is spread over the classes.
    """
    if weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    return F.cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=smoothing) / len(labels)
