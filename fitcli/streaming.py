"""Drives an encoder a few groups at a time: the same submodules as `Trunk.forward`, one sweep per segment.

Device memory is the weights, the latents of the whole image and a handful of groups. The tokens of all groups rest in
host memory between sweeps; a plan of one segment stores none. Knows no files: what a handful of groups looks like comes
from a callable, which is called one handful ahead, in another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from models.encoder import FITEncoder
from models.groups import Groups
from models.trunk import Segment, key_mask

T = TypeVar("T")

AHEAD = 2
"""Handfuls that are read while one is computed."""


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
    patches: Callable[[slice], Tensor],
    handful: int,
    keep_reads: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Streamed:
    """Encode the groups of one image, a handful at a time; equal to `encoder(patches, groups).latents`.

    Args:
        encoder: In eval mode. Its plan ends with global layers.
        groups: All groups of one image, on the host.
        patches: Gives the normalised patches [handful n p] of a slice of the groups, on the host. Called in another
            thread, in order, once per slice. What it raises ends the pass.
        handful: Groups that are computed together.
        keep_reads: Return `reads`.
        advance: Told the number of groups finished, for every segment; called `count * segments` groups in all.

    Raises:
        ValueError: The groups belong to more than one image, or the plan ends with local layers.
    """
    segments = cast("Sequence[Segment]", encoder.trunk.segments)
    if groups.images != 1:
        raise ValueError(f"streaming takes the groups of one image, not of {groups.images}")
    if segments[-1].mix is None:
        raise ValueError(f"plan {encoder.config.plan!r} ends with local layers: its latents have not seen everything")
    like = next(encoder.parameters())[..., :0]
    device, count, config = like.device, len(groups.number), encoder.config
    slices = [slice(start, min(start + handful, count)) for start in range(0, count, handful)]
    store = len(segments) > 1
    resting = torch.empty(count, config.tokens, config.token_width, dtype=like.dtype) if store else None
    reads = torch.empty(count, config.latents, config.tokens) if keep_reads else None
    whole = groups.to(device)._replace(mask=None)
    latents = encoder.start(whole, like)

    for index, segment in enumerate(segments):
        last = index == len(segments) - 1
        for part, tokens in _tokens(encoder, groups, patches, slices, resting, index, latents, device):
            mask = key_mask(_mask(groups, part, device))
            tokens = segment.local(tokens, mask)
            assert segment.read is not None
            if last and reads is not None:
                reads[part] = segment.read.weights(latents[part], tokens, mask).float().cpu()
            latents[part] = segment.read(latents[part], tokens, mask).to(latents.dtype)
            if not last and resting is not None:
                resting[part] = tokens.cpu()
            advance(part.stop - part.start)
        assert segment.mix is not None
        latents = segment.mix(latents, whole).to(latents.dtype)
    return Streamed(encoder.latent_norm(latents), reads)


def _tokens(
    encoder: FITEncoder,
    groups: Groups,
    patches: Callable[[slice], Tensor],
    slices: list[slice],
    resting: Tensor | None,
    index: int,
    latents: Tensor,
    device: torch.device,
) -> Iterator[tuple[slice, Tensor]]:
    """The tokens [handful n c] that enter segment `index`, slice by slice, on the device."""
    if index == 0:
        for part, values in zip(slices, prefetch(patches, slices), strict=True):
            yield part, encoder.embed(values.to(device, non_blocking=True), _mask(groups, part, device))
        return
    write = cast("Sequence[Segment]", encoder.trunk.segments)[index - 1].write
    assert resting is not None
    assert write is not None
    for part in slices:
        yield part, write(resting[part].to(device, non_blocking=True), latents[part])


def _mask(groups: Groups, part: slice, device: torch.device) -> Tensor | None:
    return None if groups.mask is None else groups.mask[part].to(device)


def prefetch(function: Callable[[slice], T], arguments: Sequence[slice], ahead: int = AHEAD) -> Iterator[T]:
    """Results of `function` for all arguments, in order, computed up to `ahead` calls early in another thread.

    What the function raises is raised here, at its place in the order; calls that have not begun are dropped.
    """
    with ThreadPoolExecutor(1, "prefetch") as pool:
        pending = [pool.submit(function, argument) for argument in arguments[:ahead]]
        try:
            for position in range(len(arguments)):
                future = pending.pop(0)
                result = future.result()
                if position + ahead < len(arguments):
                    pending.append(pool.submit(function, arguments[position + ahead]))
                yield result
        finally:
            for future in pending:
                future.cancel()
