"""What is minimised, and what counts as right, where several things are asked of every image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.runs.targets import Target, slices


def multi_hot(targets: Tensor, classes: int) -> Tensor:
    """[b l] numbers of the classes that hold, -1 for none -> [b k] float32, 1 where a class holds."""
    held = torch.zeros(len(targets), classes + 1, device=targets.device)
    # What is -1 falls into a column of its own.
    return held.scatter_(1, targets.remainder(classes + 1), 1.0)[:, :classes]


def loss_of_targets(
    logits: Tensor, targets: Tensor, tasks: Sequence[Target], weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """The mean over the tasks of the mean over the images of what the right answer costs, in nats: cross-entropy where
    one class holds, and where any number does the sum of the binary cross-entropies of all classes.

    Args:
        logits: [b k] of all tasks side by side.
        targets: [b l], see `multi_hot`.
        tasks: In the order of the logits.
        weights: [k] of the classes; of the images where they hold, where any number does. None for equal ones.
        smoothing: Share of each target that is spread over the classes, or over yes and no.
    """
    held = multi_hot(targets, logits.shape[1])
    losses = []
    for task, part in zip(tasks, slices(tasks), strict=True):
        given, wanted, weight = (
            logits[:, part],
            held[:, part].to(logits.dtype),
            None if weights is None else weights[part],
        )
        if task.is_single:
            loss = F.cross_entropy(given, wanted.argmax(dim=1), weight, label_smoothing=smoothing)
        else:
            smoothed = wanted * (1 - smoothing) + smoothing / 2
            loss = F.binary_cross_entropy_with_logits(given, smoothed, pos_weight=weight) * given.shape[1]
        losses.append(loss)
    return torch.stack(losses).mean()


def correct(logits: Tensor, targets: Tensor, tasks: Sequence[Target]) -> Tensor:
    """[b t] bool: the likeliest class is the one that holds; where any number does, exactly those that hold have a
    probability above one half.
    """
    held = multi_hot(targets, logits.shape[1])
    found = []
    for task, part in zip(tasks, slices(tasks), strict=True):
        given, wanted = logits[:, part], held[:, part]
        if task.is_single:
            found.append(given.argmax(dim=1) == wanted.argmax(dim=1))
        else:
            found.append(((given > 0) == (wanted > 0)).all(dim=1))
    return torch.stack(found, dim=1)


def balanced_target_weights(targets: Tensor, tasks: Sequence[Target]) -> Tensor:
    """[k] that give all classes of a task the same say: inverse frequencies, 1 on average over the images; where any
    number of classes holds, how many images are without a class for each that has it.

    Args:
        targets: [b l] of all images, see `multi_hot`.
        tasks: In the order of the classes.
    """
    held = multi_hot(targets, slices(tasks)[-1].stop)
    counts = held.sum(dim=0).clamp(min=1)
    images = len(targets)
    parts = []
    for task, part in zip(tasks, slices(tasks), strict=True):
        without = (images - counts[part]).clamp(min=1)
        parts.append((images / len(task.classes) if task.is_single else without) / counts[part])
    return torch.cat(parts)
