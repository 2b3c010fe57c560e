"""Builds the training step of a classifier."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fitcli.execution.drop_path import DropPath
from fitcli.execution.job import Job, LatentLoss, largest_handful
from models.encoder import FITClassifier
from models.groups import Groups
from models.real_tokens import RealTokens


def classification_job(
    model: FITClassifier,
    groups: Groups,
    patches: Callable[[slice, RealTokens], Tensor],
    loss: Callable[[Tensor], Tensor],
    drop_path: DropPath | None = None,
) -> Job:
    """Return the step of a loss over whole images. Its output is the logits [b k].

    Args:
        model: The classifier.
        groups: All groups of the batch, on the device of the model.
        patches: Returns normalised patches, packed from [part n p].
        loss: Maps the logits [b k] to a scalar.
        drop_path: Layers that each image skips; None if no layer is skipped.
    """
    encoder = model.encoder

    # All ranks that share the images compute the same logits, so each takes an equal part of the loss.
    ranks = 1 if groups.share is None else groups.share.ranks

    def loss_from_latents(latents: Tensor) -> LatentLoss:
        logits = model.head(encoder.latent_norm(latents), groups).logits
        return LatentLoss(loss(logits) / ranks, logits)

    return Job(
        trunk=encoder.trunk,
        groups=groups,
        embed=lambda part, real: encoder.embed(patches(part, real), real),
        start=lambda: encoder.start(groups, next(model.parameters())),
        loss_from_latents=loss_from_latents,
        largest=largest_handful(model.config),
        drop_path=drop_path,
    )
