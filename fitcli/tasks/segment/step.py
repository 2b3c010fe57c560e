"""Builds the training step of a model that names the class of every place."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.execution.drop_path import DropPath
from fitcli.execution.job import Job, Part, largest_handful
from fitcli.tasks.segment.loss import CellLoss
from models.dense import FITDense, by_cell, class_counts
from models.groups import Groups
from models.real_tokens import RealTokens


def segmentation_job(
    model: FITDense,
    groups: Groups,
    patches: Callable[[slice, RealTokens], Tensor],
    labels: Part,
    loss: CellLoss,
    divisor: float,
    drop_path: DropPath | None = None,
) -> Job:
    """Return the step of a loss over labelled pixels.

    Args:
        model: The model.
        groups: All groups of the batch, on the device of the model.
        patches: Returns normalised patches, packed from [part n p].
        labels: Returns the class numbers of the pixels [part n patch*patch] uint8; others are no labels.
        loss: Loss of the cells.
        divisor: Divisor of the sum over the pixels: their number, weighted as in the loss.
        drop_path: Layers that each image skips; None if no layer is skipped.
    """
    encoder, config = model.encoder, model.config

    def losses(part: slice, real: RealTokens, tokens: Tensor) -> Tensor:
        logits = by_cell(model.cells_of_tokens(tokens), config.outputs)
        counts = class_counts(real.pack(labels(part)), config.cells, config.patch, config.outputs)
        return real.unpack(loss.of(logits, counts)).sum(dim=(1, 2)) / divisor

    return Job(
        trunk=encoder.trunk,
        groups=groups,
        embed=lambda part, real: encoder.embed(patches(part, real), real),
        start=lambda: encoder.start(groups, next(model.parameters())),
        loss_from_tokens=losses,
        largest=largest_handful(config),
        drop_path=drop_path,
    )
