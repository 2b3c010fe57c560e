"""Computes the losses of a training step of a model that names the class of every place."""

from __future__ import annotations

from torch import Tensor

from fitcli.execution.job import Part
from fitcli.tasks.dense.dense_step import CellLosses
from fitcli.tasks.segment.loss import CellLoss
from models.config import DenseConfig
from models.dense import class_counts
from models.real_tokens import RealTokens


def label_losses(config: DenseConfig, labels: Part, loss: CellLoss) -> CellLosses:
    """Return the losses of labelled pixels, for `dense_job`, whose divisor is their number, weighted as in the loss.

    Args:
        config: The architecture.
        labels: Returns the class numbers of the pixels [part n patch*patch] uint8; others are no labels.
        loss: Loss of the cells.
    """

    def losses(part: slice, real: RealTokens, logits: Tensor) -> Tensor:
        counts = class_counts(real.pack(labels(part)), config.cells, config.patch, config.outputs)
        return real.unpack(loss.of(logits, counts)).sum(dim=(1, 2))

    return losses
