"""Builds the training step of an autoregressive decoder."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from fitcli.execution.job import Job, Part, largest_handful
from fitcli.execution.missing import Missing
from models.decoder import FITDecoder
from models.groups import Groups
from models.real_tokens import RealTokens


def decoding_job(
    model: FITDecoder,
    groups: Groups,
    ids: Part,
    next_ids: Part,
    labels: Tensor | None = None,
    smoothing: float = 0.0,
    missing: Missing | None = None,
) -> Job:
    """Return the step of the mean cross-entropy of the next token, in bits, over all tokens but padding.

    Args:
        model: The decoder.
        groups: All groups of the batch, on the device of the model.
        ids: Returns the inputs [part n] int64: the token before each position.
        next_ids: Returns the token at each position, [part n] int64.
        labels: Classes of the images [b]; None for a model without classes.
        smoothing: Share of the target probability that is spread evenly over the vocabulary.
        missing: Values [part n] that the loss leaves out; None if it counts all but padding.
    """

    tokens_in_all = groups.count_real_tokens(model.config.tokens)

    def loss_from_tokens(part: slice, real: RealTokens, tokens: Tensor) -> Tensor:
        logits = model.predict(tokens)
        expected = real.pack(next_ids(part))
        nats = F.cross_entropy(logits.mT, expected, reduction="none", label_smoothing=smoothing)
        bits = real.unpack(nats / math.log(2))  # [part n]
        if missing is not None:
            return missing.zero(bits, part).sum(dim=1) / max(missing.present, 1)
        return bits.sum(dim=1) / tokens_in_all

    return Job(
        trunk=model.trunk,
        groups=groups,
        embed=lambda part, real: model.embed(real.pack(ids(part)), real),
        start=lambda: model.start(groups, next(model.parameters())),
        context=None if labels is None else lambda: _context(model, labels),
        loss_from_tokens=loss_from_tokens,
        largest=largest_handful(model.config),
    )


def _context(model: FITDecoder, labels: Tensor) -> Tensor:
    context = model.context(labels)
    assert context is not None
    return context
