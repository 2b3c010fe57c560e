"""The three models over the groups of one image of any size, a handful of groups at a time.

Each function gives what the `forward` of its model gives, from the same submodules; `sweeps.py` drives the trunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.sweeps import Load, PassOutputs, Sink, Streaming, TokenSource, stream_trunk
from models.chunked_latents import norm_in_pieces
from models.decoder import FITDecoder
from models.denoiser import FITDenoiser
from models.encoder import FITEncoder, with_side
from models.groups import Groups


class Streamed(NamedTuple):
    """What a streamed pass gives.

    Attributes:
        latents: [g m d], normalised, on the device of the model.
        reads: [g m n] float32 on the host: how much each latent read of each token of its group in the last `read`.
            None unless asked for.
    """

    latents: Tensor
    reads: Tensor | None


def stream_latents(
    encoder: FITEncoder,
    groups: Groups,
    patches: Load,
    handful: int,
    keep_reads: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Streamed:
    """Encode the groups of one image; equal to `encoder(patches, groups).latents`.

    Args:
        encoder: In eval mode. Its plan ends with global layers.
        groups: All groups of one image, on the host.
        patches: Gives normalised patches [part n p].
        handful: Groups that are computed together.
        keep_reads: Return `reads`.
        advance: Told the number of groups finished, for every segment; called `count * segments` groups in all.

    Raises:
        ValueError: The groups belong to more than one image, or the plan ends with local layers.
    """
    config = encoder.config
    if config.segments[-1][1] == 0:
        raise ValueError(f"plan {config.plan!r} ends with local layers: its latents have not seen everything")
    reads = torch.empty(len(groups.number), config.latents, config.tokens) if keep_reads else None

    def keep(part: slice, values: Tensor) -> None:
        assert reads is not None
        reads[part] = values.cpu()

    wanted = PassOutputs(reads=keep if keep_reads else None)
    latents = stream_encoder(encoder, groups, patches, Streaming(handful=handful, advance=advance), wanted)
    return Streamed(latents, reads)


def stream_encoder(
    encoder: FITEncoder,
    groups: Groups,
    patches: Load,
    how: Streaming,
    wanted: PassOutputs,
    prepare: Callable[[Tensor], Tensor] = lambda patches: patches,
    side: Tensor | None = None,
) -> Tensor:
    """Encode the groups of one image; equal to `FITEncoder.forward`.

    Args:
        encoder: In eval mode.
        groups: All groups of one image, on the host.
        patches: Gives patches [part n p].
        how: Handfuls and store.
        wanted: What comes out. `wanted.tokens` is given normalised tokens.
        prepare: Makes normalised patches of what `patches` gave, on the device.
        side: Extra tokens of each group [g s values], where the config has `side_values`.

    Returns:
        The latents [g m d], normalised.
    """
    config, like = encoder.config, _like(encoder)

    def embed(values: Tensor, part: slice) -> Tensor:
        beside = None if side is None else to_device(side[part], like.device)
        tokens: Tensor = encoder.embed(prepare(values), _mask(groups, part, like), beside)
        return tokens

    shape = (config.tokens + (0 if side is None else side.shape[1]), config.token_width)
    latents = stream_trunk(
        encoder.trunk,
        with_side(groups, side),
        TokenSource(load=patches, embed=embed, shape=shape),
        encoder.start(_places(groups, like), like),
        how,
        _finished(wanted, encoder.token_norm),
    )
    return norm_in_pieces(encoder.latent_norm, latents)


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
    config, like = model.config, _like(model)
    return stream_trunk(
        model.trunk,
        groups,
        TokenSource(
            load=patches,
            embed=lambda values, part: model.embed(values, _mask(groups, part, like)),
            shape=(config.tokens, config.token_width),
        ),
        model.begin(_places(groups, like), like, previous),
        how,
        _finished(PassOutputs(latents=keep_latents, tokens=predicted), model.predict),
        model.context(level, condition),
    )


def stream_decoder(
    model: FITDecoder, groups: Groups, ids: Load, predicted: Sink, how: Streaming, labels: Tensor | None = None
) -> None:
    """The logits of one sequence, all of whose ids are known; equal to `FITDecoder.forward`.

    Args:
        model: In eval mode.
        groups: All groups of one image, on the host.
        ids: Gives [part n] int64, each id the one before its place.
        predicted: Takes logits [part n vocabulary].
        how: Handfuls and store.
        labels: Class of the image [1], on the device, where the model has classes.
    """
    config, like = model.config, _like(model)
    stream_trunk(
        model.trunk,
        groups,
        TokenSource(
            load=ids, embed=lambda values, part: model.embed(values), shape=(config.tokens, config.token_width)
        ),
        model.start(_places(groups, like), like),
        how,
        _finished(PassOutputs(latents=False, tokens=predicted), model.predict),
        model.context(labels),
    )


def _finished(wanted: PassOutputs, finish: Callable[[Tensor], Tensor]) -> PassOutputs:
    """The same, where `tokens` is given what `finish` makes of the tokens."""
    take = wanted.tokens
    return wanted if take is None else replace(wanted, tokens=lambda part, tokens: take(part, finish(tokens)))


def _like(model: torch.nn.Module) -> Tensor:
    """No values, on the device and in the dtype of a model."""
    return next(model.parameters()).detach().flatten()[:0]


def _places(groups: Groups, like: Tensor) -> Groups:
    return groups._replace(mask=None).map_tensors(partial(to_device, device=like.device))


def _mask(groups: Groups, part: slice, like: Tensor) -> Tensor | None:
    return None if groups.mask is None else to_device(groups.mask[part], like.device)
