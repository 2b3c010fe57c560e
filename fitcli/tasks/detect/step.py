"""Computes the losses of a training step of a model that finds objects."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.tasks.dense.dense_step import CellLosses
from fitcli.tasks.detect.loss import CellTruth, DetectionLoss
from models.real_tokens import RealTokens


def object_losses(truth: Callable[[slice], CellTruth], loss: DetectionLoss) -> CellLosses:
    """Return the losses of cells, for `dense_job`, whose divisor is `CellTargets.weight`.

    Args:
        truth: Returns the targets of a slice of the groups, on the device of the model.
        loss: Loss of the cells.
    """

    def losses(part: slice, real: RealTokens, values: Tensor) -> Tensor:
        return loss.of(real.unpack(values).flatten(1, 2), truth(part))

    return losses
