"""Computes the logits of one image of any size, a handful of groups at a time, equal to those of `FITDecoder`."""

from __future__ import annotations

from torch import Tensor

from fitcli.streaming.device_inputs import groups_on_device, no_values
from fitcli.streaming.sweeps import Load, PassOutputs, Sink, Streaming, TokenSource, stream_trunk
from models.decoder import FITDecoder
from models.groups import Groups


def stream_decoder(
    model: FITDecoder, groups: Groups, ids: Load, predicted: Sink, streaming: Streaming, labels: Tensor | None = None
) -> None:
    """Compute the logits of one sequence, all of whose ids are known.

    Args:
        model: The decoder, in eval mode.
        groups: All groups of one image, on the host.
        ids: Returns ids [part n] int64, shifted by one: the id before each position.
        predicted: Takes logits [part n vocabulary].
        streaming: Settings of the pass.
        labels: Class of the image, [1], on the device; None for a model without classes.
    """
    config, like = model.config, no_values(model)
    stream_trunk(
        model.trunk,
        groups,
        TokenSource(
            load=ids,
            embed=lambda values, part, real: model.embed(real.pack(values), real),
            shape=(config.tokens, config.token_width),
        ),
        model.start(groups_on_device(groups, like.device), like),
        streaming,
        PassOutputs(latents=False, tokens=predicted, head=lambda tokens, real: model.predict(tokens)),
        model.context(labels),
    )
