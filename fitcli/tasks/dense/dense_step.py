"""Builds the training step of a model with an answer at every place."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.execution.drop_path import DropPath
from fitcli.execution.job import Job, largest_handful
from fitcli.patches.sample_pixels import as_pixels
from models.dense import FITDense, by_cell
from models.groups import Groups
from models.real_tokens import RealTokens

CellLosses = Callable[[slice, RealTokens, Tensor], Tensor]
"""Returns the sum of the losses of each group of a slice, from the values of the cells of its real tokens."""


def dense_job(
    model: FITDense,
    groups: Groups,
    patches: Callable[[slice, RealTokens], Tensor],
    losses: CellLosses,
    divisor: float,
    drop_path: DropPath | None = None,
) -> Job:
    """Return the step of a loss that is a sum over cells.

    Args:
        model: The model.
        groups: All groups of the batch, on the device of the model.
        patches: Returns normalised patches, packed from [part n p].
        losses: Losses of the cells.
        divisor: Divisor of the sum over the cells.
        drop_path: Layers that each image skips; None if no layer is skipped.
    """
    encoder, config = model.encoder, model.config
    return Job(
        trunk=encoder.trunk,
        groups=groups,
        embed=lambda part, real: encoder.embed(patches(part, real), real),
        start=lambda: encoder.start(groups, next(model.parameters())),
        loss_from_tokens=lambda part, real, tokens: (
            losses(part, real, by_cell(model.cells_of_tokens(tokens), config.outputs)) / divisor
        ),
        largest=largest_handful(config),
        drop_path=drop_path,
    )


def sample_patches(read: Callable[[slice], Tensor]) -> Callable[[slice, RealTokens], Tensor]:
    """Return the patches of sample images for `dense_job`, from what returns the input of a slice of the groups."""
    return lambda part, real: as_pixels(real.pack(read(part)))
