"""The training steps of the three models as jobs.

Where several ranks share the images, the loss of a step is the sum of what their jobs give, and so are its gradients.
What goes in is asked for a slice of the groups at a time, and again when the slice is replayed: only what the callables
hold is kept, so let them hold bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from fitcli.execution.drop_path import DropPath
from fitcli.execution.job import Job, LatentLoss, largest_handful
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITClassifier
from models.groups import Groups

Part = Callable[[slice], Tensor]
"""Values of a slice of the groups, on the device of the model."""


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
        embed=lambda part: encoder.embed(patches(part), _mask(groups, part)),
        start=lambda: encoder.start(groups, _like(model)),
        loss_from_latents=loss_from_latents,
        largest=largest_handful(model.config),
        drop_path=drop_path,
    )


def denoising_job(
    model: FITDenoiser,
    groups: Groups,
    patches: Part,
    level: Tensor,
    loss: Callable[[slice, Tensor], Tensor],
    condition: Tensor | None = None,
    previous: Tensor | None = None,
) -> Job:
    """A loss of the prediction for each patch.

    Args:
        model: Of the step.
        groups: All groups of the batch, on the device of the model.
        patches: Gives noisy patches [part n p].
        level, condition, previous: As in `FITDenoiser.forward`.
        loss: From the prediction [part n out_values] for a slice of the groups to the contribution of each, [part];
            `mean_square` makes one.
    """
    return Job(
        trunk=model.trunk,
        groups=groups,
        embed=lambda part: model.embed(patches(part), _mask(groups, part)),
        start=lambda: model.begin(groups, _like(model), previous),
        context=lambda: model.context(level, condition),
        loss_from_tokens=lambda part, tokens: loss(part, model.predict(tokens)),
        largest=largest_handful(model.config),
    )


def decoding_job(
    model: FITDecoder,
    groups: Groups,
    ids: Part,
    targets: Part,
    labels: Tensor | None = None,
    smoothing: float = 0.0,
) -> Job:
    """Mean cross entropy of the next token, in bits, over all tokens that are no padding.

    Args:
        model: Of the step.
        groups: All groups of the batch, on the device of the model.
        ids: Gives what the decoder sees [part n] int64, at each place the token before it.
        targets: Gives the token at each place [part n] int64.
        labels: Classes of the images [b], where the model has classes.
        smoothing: Share of the target probability that is spread evenly over the vocabulary.
    """

    def loss_from_tokens(part: slice, tokens: Tensor) -> Tensor:
        logits = model.predict(tokens)
        nats = F.cross_entropy(logits.mT, targets(part), reduction="none", label_smoothing=smoothing)  # [part n]
        bits = nats / math.log(2)
        return _masked(bits, _mask(groups, part)).sum(dim=1) / groups.real(bits.shape[1])

    return Job(
        trunk=model.trunk,
        groups=groups,
        embed=lambda part: model.embed(ids(part)),
        start=lambda: model.start(groups, _like(model)),
        context=None if labels is None else lambda: _context(model, labels),
        loss_from_tokens=loss_from_tokens,
        largest=largest_handful(model.config),
    )


def _context(model: FITDecoder, labels: Tensor) -> Tensor:
    context = model.context(labels)
    assert context is not None
    return context


def mean_square(groups: Groups, target: Part) -> Callable[[slice, Tensor], Tensor]:
    """A loss for `denoising_job`: the mean squared difference to the target [part n p], over all real patches."""

    def loss(part: slice, prediction: Tensor) -> Tensor:
        # Before the square: the gradient of a padded NaN would be NaN even where its square is masked.
        error = _masked(target(part) - prediction, _mask(groups, part))
        return error.square().sum(dim=(1, 2)) / (groups.real(error.shape[1]) * error.shape[2])

    return loss


def _like(model: nn.Module) -> Tensor:
    """Latents are of the dtype of the weights, whatever the precision of matrix products."""
    return next(model.parameters())


def _mask(groups: Groups, part: slice) -> Tensor | None:
    return None if groups.mask is None else groups.mask[part]


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    """Values [part n ...], zero where they are of padding."""
    return values if mask is None else values.masked_fill(~mask.reshape(*mask.shape, *[1] * (values.ndim - 2)), 0)
