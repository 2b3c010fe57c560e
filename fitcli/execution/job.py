"""What a training step computes, in the pieces that can be run a handful of groups at a time.

Knows the trunk and its segments; not what makes the tokens, nor what is learned from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from fitcli.execution.drop_path import DropPath
from models.config import DecoderConfig, TrunkConfig
from models.groups import Groups
from models.layers import Call, direct
from models.trunk import Segment, Trunk, key_mask

EVERY = slice(None)
"""All groups."""

Part = Callable[[slice], Tensor]
"""Returns values [part ...] of a slice of the groups, on the device of the model. A step calls it again for a slice
that it replays: let it hold bytes rather than what is computed from them."""


class LatentLoss(NamedTuple):
    """What follows from all latents: a part of the loss, a scalar, and an output for whoever asked for the step."""

    loss: Tensor
    output: Tensor | None = None


class Outcome(NamedTuple):
    """Of a step: its loss, a scalar, and what its conclusion put out."""

    loss: Tensor
    output: Tensor | None


class SegmentOutput(NamedTuple):
    """What a segment makes of a handful, up to `mix`. None: nobody needs it.

    Attributes:
        tokens: [part n c], which enter the next segment.
        latents: [part m d], which go into `mix`.
        losses: [part], the contribution of each group to the loss.
    """

    tokens: Tensor | None
    latents: Tensor | None
    losses: Tensor | None


def largest_handful(config: TrunkConfig) -> int:
    """Groups that can be computed together on a CUDA device, whatever its memory.

    Attention takes fewer than 65,536 heads of all groups together (PyTorch issues 142228 and 146704), and kernels count
    the elements of a tensor in 32 bits.
    """
    heads = max(config.token_heads, config.cross_heads)
    widest = max(config.token_width * max(3, config.mlp_ratio), 2 * config.cross_heads * config.cross_head_width)
    if isinstance(config, DecoderConfig):
        widest = max(widest, config.vocabulary)
    return max(1, min(65_535 // heads, (2**31 - 1) // (widest * max(config.tokens, config.latents))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A training step. Its callables are called several times and must give the same each time.

    Attributes:
        trunk: The segments.
        groups: All groups of the batch, as the trunk sees them.
        embed: The tokens [part n c] of a slice of the groups, from whatever they are made of.
        start: The latents [g m d] before the first segment.
        context: Conditioning tokens [b s d]; None without.
        finish: From the tokens [part n c] of a slice of the groups after the last segment to the contribution of each
            of them to the loss, [part]; None where the loss does not depend on them.
        conclude: From the latents [g m d] after the last segment to a contribution to the loss; None where the loss
            does not depend on them.
        largest: Groups that one call can take at most, see `largest_handful`; None without a limit.
        drop_path: Which layers are left out for which images; None for none.
    """

    trunk: Trunk
    groups: Groups
    embed: Callable[[slice], Tensor]
    start: Callable[[], Tensor]
    context: Callable[[], Tensor] | None = None
    loss_from_tokens: Callable[[slice, Tensor], Tensor] | None = None
    loss_from_latents: Callable[[Tensor], LatentLoss] | None = None
    largest: int | None = None
    drop_path: DropPath | None = None

    def __post_init__(self) -> None:
        self.groups.check()
        if self.loss_from_tokens is None and (self.loss_from_latents is None or self.segments[-1].mix is None):
            raise ValueError("nothing depends on the last segment: what is there to learn?")

    @property
    def segments(self) -> list[Segment]:
        """Of the trunk."""
        return list(cast("list[Segment]", self.trunk.segments))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.trunk.parameters()).device

    def parts(self, handful: int, calls: int = 1) -> list[slice]:
        """All groups, a handful at a time, or fewer where a handful is more than one call can take.

        Args:
            handful: Of groups.
            calls: Parts that there are at least; the last ones are empty. One, where other ranks that share the images
                have all groups: they wait for this one in `mix`.
        """
        count, handful = len(self.groups.number), max(1, min(handful, self.largest or handful))
        parts = [slice(start, min(start + handful, count)) for start in range(0, count, handful)]
        return parts + [slice(count, count)] * (max(1, calls) - len(parts))

    def call(self, part: slice = EVERY, how: Call = direct) -> Call:
        """How layers are run over a slice of the groups, or over all images, given how they would be run in any job."""
        return how if self.drop_path is None else self.drop_path.over(part, how)

    def mixes(self, index: int) -> bool:
        """Whether anything depends on the `read` and `mix` of a segment."""
        last = index == len(self.segments) - 1
        return self.segments[index].mix is not None and not (last and self.loss_from_latents is None)

    def visit(
        self, index: int, part: slice, tokens: Tensor | None, latents: Tensor, readable: Tensor | None
    ) -> SegmentOutput:
        """Run segment `index` over a slice of the groups, up to `mix`.

        Args:
            index: Of the segment.
            part: The slice.
            tokens: [part n c] after `local` of the segment before; None for the first segment, which embeds.
            latents: [part m d] before this segment.
            readable: [part m d], what `write` of the segment before gives to the tokens, see `Trunk.readable`.
        """
        segment = self.segments[index]
        mask = key_mask(None if self.groups.mask is None else self.groups.mask[part])
        if index == 0:
            tokens = self.embed(part)
        else:
            write = self.segments[index - 1].write
            assert write is not None
            tokens = write(tokens, readable)
        tokens = segment.local(tokens, mask, self.trunk.causal_tokens, self.call(part))
        read = segment.read(latents, tokens, mask) if segment.read is not None and self.mixes(index) else None
        if index < len(self.segments) - 1:
            return SegmentOutput(tokens, read, None)
        return SegmentOutput(None, read, None if self.loss_from_tokens is None else self.loss_from_tokens(part, tokens))

    def outcome(self, losses: list[Tensor], conclusion: LatentLoss | None) -> Outcome:
        """Add the contributions of all groups up, at once, so that the sum does not depend on the handfuls."""
        loss = torch.cat(losses).sum() if losses else None
        if conclusion is None:
            assert loss is not None
            return Outcome(loss, None)
        return Outcome(conclusion.loss if loss is None else loss + conclusion.loss, conclusion.output)
