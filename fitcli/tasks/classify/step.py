"""The training step of a classifier as a job."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.execution.drop_path import DropPath
from fitcli.execution.job import Job, LatentLoss, Part, largest_handful
from fitcli.execution.padding import part_mask
from models.encoder import FITClassifier
from models.groups import Groups


def classification_job(
    model: FITClassifier,
    groups: Groups,
    patches: Part,
    loss: Callable[[Tensor], Tensor],
    drop_path: DropPath | None = None,
) -> Job:
    """A loss of the classes of whole images. The output of its conclusion are the logits [b k].

    Args:
        model: Of the step.
        groups: All groups of the batch, on the device of the model.
        patches: Gives normalised patches [part n p].
        loss: From the logits [b k] to a scalar.
        drop_path: Which layers are left out for which images; None for none.
    """
    encoder = model.encoder

    # All ranks that share the images come to the same logits: each has an equal part of the loss.
    ranks = 1 if groups.share is None else groups.share.ranks

    def loss_from_latents(latents: Tensor) -> LatentLoss:
        logits = model.head(encoder.latent_norm(latents), groups).logits
        return LatentLoss(loss(logits) / ranks, logits)

    return Job(
        trunk=encoder.trunk,
        groups=groups,
        embed=lambda part: encoder.embed(patches(part), part_mask(groups, part)),
        start=lambda: encoder.start(groups, next(model.parameters())),
        loss_from_latents=loss_from_latents,
        largest=largest_handful(model.config),
        drop_path=drop_path,
    )
