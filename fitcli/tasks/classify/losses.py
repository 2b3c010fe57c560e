"""The losses of a classifier with one class per image, with those that other packages add."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from fitcli.plugins.registry import Registry
from fitcli.tasks.classify.options import USUAL_LOSS

ClassLoss = Callable[[Tensor, Tensor, Tensor | None, float], Tensor]
"""Maps logits, labels, weights and smoothing, as those of `mean_cross_entropy`, to the mean over the images."""


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


LOSSES: Registry[ClassLoss] = Registry("loss", "fit.losses", {USUAL_LOSS: mean_cross_entropy}, wanted="a function")
"""Losses by the name that `--loss` gives."""
