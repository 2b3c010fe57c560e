"""Denoises one image of any size, a handful of groups at a time. The results equal those of `FITDenoiser.forward`."""

from __future__ import annotations

from torch import Tensor

from fitcli.streaming.device_inputs import groups_on_device, no_values
from fitcli.streaming.sweeps import Load, PassOutputs, Sink, Streaming, TokenSource, stream_trunk
from models.denoiser import FITDenoiser
from models.groups import Groups


def stream_denoiser(
    model: FITDenoiser,
    groups: Groups,
    patches: Load,
    level: Tensor,
    predicted: Sink,
    streaming: Streaming,
    condition: Tensor | None = None,
    previous: Tensor | None = None,
    keep_latents: bool = True,
) -> Tensor:
    """Run one prediction from the noisy patches of one image.

    Args:
        model: The denoiser, in eval mode.
        groups: All groups of one image, on the host.
        patches: Returns noisy patches [part n p].
        level: Noise level [1] or, with `time_features`, [1 1+f], on the device.
        predicted: Takes the prediction [part n out_values].
        streaming: Settings of the pass.
        condition: Conditioning tokens [1 s width], on the device; None for an unconditional prediction.
        previous: Latents [g m d] of an earlier prediction, on the device; None for zeros.
        keep_latents: Whether the next prediction needs the latents.

    Returns:
        The latents [g m d], not normalised; meaningless unless `keep_latents`.
    """
    config, like = model.config, no_values(model)
    return stream_trunk(
        model.trunk,
        groups,
        TokenSource(
            load=patches,
            embed=lambda values, part, real: model.embed(real.pack(values), real),
            shape=(config.tokens, config.token_width),
        ),
        model.begin(groups_on_device(groups, like.device), like, previous),
        streaming,
        PassOutputs(latents=keep_latents, tokens=predicted, head=model.predict),
        model.context(level, condition),
    )
