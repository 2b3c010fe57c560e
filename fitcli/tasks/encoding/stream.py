"""Encodes the groups of one image of any size, a handful at a time. The results equal those of `FITEncoder.forward`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.streaming.device_inputs import groups_on_device, no_values
from fitcli.streaming.sweeps import Load, PassOutputs, Streaming, TokenSource, stream_trunk
from models.encoder import FITEncoder, with_side
from models.groups import Groups
from models.piecewise_latents import normalize_piecewise
from models.real_tokens import RealTokens


class StreamedFeatures(NamedTuple):
    """The results of `stream_latents`.

    Attributes:
        latents: Normalised latents [g m d], on the device of the model.
        reads: Attention weights [g m n], float32, on the host, with which each latent reads the tokens of its group in
            the last `read`; None without `keep_reads`.
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
) -> StreamedFeatures:
    """Encode the groups of one image. The latents equal `encoder(patches, groups).latents`.

    Args:
        encoder: The encoder, in eval mode. Its plan must end with global layers.
        groups: All groups of one image, on the host.
        patches: Returns normalised patches [part n p].
        handful: Number of groups that are computed together.
        keep_reads: Whether to return `reads`.
        advance: Called with a number of groups when these are finished, in every segment.

    Raises:
        ValueError: The groups belong to more than one image, or the plan ends with local layers.
    """
    config = encoder.config
    if config.segments[-1][1] == 0:
        raise ValueError(f"plan {config.plan!r} ends with local layers, whose results its latents never read")
    reads = torch.empty(len(groups.number), config.latents, config.tokens) if keep_reads else None

    def keep(part: slice, values: Tensor) -> None:
        assert reads is not None
        reads[part] = values.cpu()

    outputs = PassOutputs(reads=keep if keep_reads else None)
    latents = stream_encoder(encoder, groups, patches, Streaming(handful=handful, advance=advance), outputs)
    return StreamedFeatures(latents, reads)


def stream_encoder(
    encoder: FITEncoder,
    groups: Groups,
    patches: Load,
    streaming: Streaming,
    outputs: PassOutputs,
    prepare: Callable[[Tensor], Tensor] = lambda patches: patches,
    side: Tensor | None = None,
) -> Tensor:
    """Encode the groups of one image.

    Args:
        encoder: The encoder, in eval mode.
        groups: All groups of one image, on the host.
        patches: Returns patches [part n p].
        streaming: Settings of the pass.
        outputs: The outputs to compute. `outputs.tokens` takes normalised tokens.
        prepare: Normalises the patches on the device.
        side: Extra tokens of each group [g s values], for a config with `side_values`.

    Returns:
        The normalised latents [g m d].
    """
    config, like = encoder.config, no_values(encoder)

    def embed(values: Tensor, part: slice, real: RealTokens) -> Tensor:
        beside = None if side is None else to_device(side[part], like.device)
        patches = groups.real_tokens(part).to(like.device) if beside is not None else real
        tokens: Tensor = encoder.embed(prepare(patches.pack(values)), patches, beside)
        return tokens

    shape = (config.tokens + (0 if side is None else side.shape[1]), config.token_width)
    latents = stream_trunk(
        encoder.trunk,
        with_side(groups, side),
        TokenSource(load=patches, embed=embed, shape=shape),
        encoder.start(groups_on_device(groups, like.device), like),
        streaming,
        replace(outputs, head=lambda tokens, real: encoder.token_norm(tokens)),
    )
    return normalize_piecewise(encoder.latent_norm, latents, streaming.piece)
