"""Predicts from the noisy patches of one image of any size, a handful of groups at a time, as `FITDenoiser` does."""

from __future__ import annotations

from torch import Tensor

from fitcli.streaming.device_inputs import groups_on_device, mask_on_device, no_values
from fitcli.streaming.sweeps import Load, PassOutputs, Sink, Streaming, TokenSource, stream_trunk
from models.denoiser import FITDenoiser
from models.groups import Groups


def stream_denoiser(
    model: FITDenoiser,
    groups: Groups,
    patches: Load,
    level: Tensor,
    predicted: Sink,
    how: Streaming,
    condition: Tensor | None = None,
    previous: Tensor | None = None,
    keep_latents: bool = True,
) -> Tensor:
    """Predict from the noisy patches of one image; equal to `FITDenoiser.forward`.

    Args:
        model: In eval mode.
        groups: All groups of one image, on the host.
        patches: Gives noisy patches [part n p].
        level: Noise level [1] or, with `time_features`, [1 1+f], on the device.
        predicted: Takes the prediction [part n out_values].
        how: Handfuls and store.
        condition: Conditioning tokens [1 s width], on the device; None for an unconditional prediction.
        previous: Latents [g m d] of an earlier prediction, on the device; zeros where None.
        keep_latents: The latents are needed, for the next prediction.

    Returns:
        The latents [g m d], not normalised; without meaning unless `keep_latents`.
    """
    config, like = model.config, no_values(model)
    return stream_trunk(
        model.trunk,
        groups,
        TokenSource(
            load=patches,
            embed=lambda values, part: model.embed(values, mask_on_device(groups, part, like.device)),
            shape=(config.tokens, config.token_width),
        ),
        model.begin(groups_on_device(groups, like.device), like, previous),
        how,
        PassOutputs(latents=keep_latents, tokens=predicted).map_tokens(model.predict),
        model.context(level, condition),
    )
