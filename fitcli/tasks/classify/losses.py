"""Loss, correctness and class weights of a classifier with several targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.runs.targets import Target, slices


def multi_hot(numbers: Tensor, classes: int) -> Tensor:
    """Return [b k] float32, 1 for the classes that apply.

    Args:
        numbers: [b l], numbers of the classes that apply; padded with -1.
        classes: Number of classes, k.
    """
    held = torch.zeros(len(numbers), classes + 1, device=numbers.device)
    # The extra column takes the -1.
    return held.scatter_(1, numbers.remainder(classes + 1), 1.0)[:, :classes]


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


def loss_of_targets(
    logits: Tensor, numbers: Tensor, targets: Sequence[Target], weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the mean loss over targets and images, in nats.

    A single-label target has the cross-entropy. A multi-label target has the binary cross-entropies, summed over its
    classes; `fit evaluate` reports their mean over the classes, see `multi_label_scores`.

    Args:
        logits: [b k], the classes of all targets side by side.
        numbers: [b l], see `multi_hot`.
        targets: The targets, in the order of the logits.
        weights: Class weights [k], see `balanced_target_weights`; None for equal weights.
        smoothing: Share of the label that is spread over the classes; for multi-label, over yes and no.
    """
    held = multi_hot(numbers, logits.shape[1])
    losses = []
    for target, part in zip(targets, slices(targets), strict=True):
        own, expected = logits[:, part], held[:, part].to(logits.dtype)
        weight = None if weights is None else weights[part]
        if target.is_single:
            loss = mean_cross_entropy(own, expected.argmax(dim=1), weight, smoothing)
        else:
            smoothed = expected * (1 - smoothing) + smoothing / 2
            loss = F.binary_cross_entropy_with_logits(own, smoothed, pos_weight=weight) * own.shape[1]
        losses.append(loss)
    return torch.stack(losses).mean()


def correct_targets(logits: Tensor, numbers: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return whether each prediction is correct, [b t] bool.

    A single-label prediction is correct if its most probable class applies. A multi-label prediction is correct if
    exactly the classes that apply have a probability above one half.

    Args:
        logits, numbers, targets: As in `loss_of_targets`.
    """
    held = multi_hot(numbers, logits.shape[1])
    correct = []
    for target, part in zip(targets, slices(targets), strict=True):
        own, expected = logits[:, part], held[:, part]
        if target.is_single:
            correct.append(own.argmax(dim=1) == expected.argmax(dim=1))
        else:
            correct.append(((own > 0) == (expected > 0)).all(dim=1))
    return torch.stack(correct, dim=1)


def balanced_target_weights(numbers: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return class weights [k]: inverse frequency (mean 1) for single-label, negatives / positives for multi-label.

    The latter are the `pos_weight` of the binary cross-entropy.

    Args:
        numbers: [b l] of all training images, see `multi_hot`.
        targets: The targets, in the order of the classes.
    """
    held = multi_hot(numbers, slices(targets)[-1].stop)
    positives = held.sum(dim=0).clamp(min=1)
    images = len(numbers)
    parts = []
    for target, part in zip(targets, slices(targets), strict=True):
        negatives = (images - positives[part]).clamp(min=1)
        parts.append((images / len(target.classes) if target.is_single else negatives) / positives[part])
    return torch.cat(parts)
