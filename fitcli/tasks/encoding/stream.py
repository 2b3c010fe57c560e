"""Encodes the groups of one image of any size, a handful at a time, with the submodules of `FITEncoder`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.device_inputs import groups_on_device, mask_on_device, no_values
from fitcli.streaming.sweeps import Load, PassOutputs, Streaming, TokenSource, stream_trunk
from models.encoder import FITEncoder, with_side
from models.groups import Groups
from models.piecewise_latents import normalize_piecewise


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
    config, like = encoder.config, no_values(encoder)

    def embed(values: Tensor, part: slice) -> Tensor:
        beside = None if side is None else to_device(side[part], like.device)
        tokens: Tensor = encoder.embed(prepare(values), mask_on_device(groups, part, like.device), beside)
        return tokens

    shape = (config.tokens + (0 if side is None else side.shape[1]), config.token_width)
    latents = stream_trunk(
        encoder.trunk,
        with_side(groups, side),
        TokenSource(load=patches, embed=embed, shape=shape),
        encoder.start(groups_on_device(groups, like.device), like),
        how,
        wanted.map_tokens(encoder.token_norm),
    )
    return normalize_piecewise(encoder.latent_norm, latents)
