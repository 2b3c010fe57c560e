"""Builds the training step of a model that finds objects."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.execution.drop_path import DropPath
from fitcli.execution.job import Job, largest_handful
from fitcli.tasks.detect.loss import CellTruth, DetectionLoss
from models.dense import FITDense, by_cell
from models.groups import Groups
from models.real_tokens import RealTokens


def detection_job(
    model: FITDense,
    groups: Groups,
    patches: Callable[[slice, RealTokens], Tensor],
    truth: Callable[[slice], CellTruth],
    loss: DetectionLoss,
    divisor: float,
    drop_path: DropPath | None = None,
) -> Job:
    """Return the step of a loss over cells.

    Args:
        model: The model.
        groups: All groups of the batch, on the device of the model.
        patches: Returns normalised patches, packed from [part n p].
        truth: Returns the targets of a slice of the groups, on the device of the model.
        loss: Loss of the cells.
        divisor: Divisor of the sum over the cells, see `CellTargets.weight`.
        drop_path: Layers that each image skips; None if no layer is skipped.
    """
    encoder, config = model.encoder, model.config

    def losses(part: slice, real: RealTokens, tokens: Tensor) -> Tensor:
        values = real.unpack(by_cell(model.cells_of_tokens(tokens), config.outputs))
        return loss.of(values.flatten(1, 2), truth(part)) / divisor

    return Job(
        trunk=encoder.trunk,
        groups=groups,
        embed=lambda part, real: encoder.embed(patches(part, real), real),
        start=lambda: encoder.start(groups, next(model.parameters())),
        loss_from_tokens=losses,
        largest=largest_handful(config),
        drop_path=drop_path,
    )
