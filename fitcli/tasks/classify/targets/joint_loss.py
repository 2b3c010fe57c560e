"""Loss, correctness and class weights of a classifier with several targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fitcli.runs.targets import Target, slices
from fitcli.tasks.classify.targets.kinds import kind_of, row_slices


def loss_of_targets(
    outputs: Tensor, rows: Tensor, targets: Sequence[Target], weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Return the mean over targets of their losses over the images, in nats for classes; see `TargetKind.loss`.

    Args:
        outputs: [b k], the outputs of all targets side by side.
        rows: [b w], see `AnswerRows`.
        targets: The targets, in the order of the outputs.
        weights: Class weights [k], see `balanced_target_weights`; None for equal weights.
        smoothing: Share of the label that is spread over the classes.
    """
    losses = []
    for target, part, own in zip(targets, slices(targets), row_slices(targets), strict=True):
        weight = None if weights is None else weights[part]
        losses.append(kind_of(target).loss(target, outputs[:, part], rows[:, own], weight, smoothing))
    return torch.stack(losses).mean()


def correct_targets(outputs: Tensor, rows: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return whether each prediction is correct, for the t targets that name classes, [b t] bool.

    Args:
        outputs, rows, targets: As in `loss_of_targets`.
    """
    each = zip(targets, slices(targets), row_slices(targets), strict=True)
    named = [(kind_of(target), target, part, own) for target, part, own in each if kind_of(target).names_classes]
    return torch.stack([kind.correct(t, outputs[:, part], rows[:, own]) for kind, t, part, own in named], dim=1)


def balanced_target_weights(rows: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return class weights [k], see `TargetKind.weights`.

    Args:
        rows: [b w] of all training images, see `AnswerRows`.
        targets: The targets, in the order of the outputs.
    """
    each = zip(targets, row_slices(targets), strict=True)
    return torch.cat([kind_of(target).weights(target, rows[:, own]) for target, own in each])
