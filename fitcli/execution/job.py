"""Describes a training step in pieces that run a handful of groups at a time.

The tasks supply the tokens and the loss as callables. If several ranks share the images, the loss of the step is the
sum of the losses of their jobs, and the same holds for the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.execution.drop_path import DropPath
from fitcli.execution.plan import ExecutionPlan
from models.config import DecoderConfig, DenoiserConfig, TrunkConfig
from models.groups import Groups
from models.layers import Call, direct
from models.real_tokens import RealTokens
from models.trunk import Segment, Trunk

EVERY = slice(None)
"""All groups."""

Part = Callable[[slice], Tensor]
"""Returns values [part ...] of a slice of the groups, on the device of the model. A step calls it again for a slice
that it replays. Only what the callable holds stays in memory, so let it hold the bytes of the pixels."""


class LatentLoss(NamedTuple):
    """The part of the loss that depends on all latents.

    Attributes:
        loss: Scalar.
        output: Result for the caller beside the loss, such as logits; None if there is none.
    """

    loss: Tensor
    output: Tensor | None = None


class Outcome(NamedTuple):
    """The result of a step.

    Attributes:
        loss: Scalar.
        output: `LatentLoss.output`; None if the job has no `loss_from_latents`.
    """

    loss: Tensor
    output: Tensor | None


class SegmentOutput(NamedTuple):
    """The results of a segment for a handful, up to `mix`. A result that nothing depends on is None.

    Attributes:
        tokens: Tokens that enter the next segment, packed from [part n c].
        latents: Latents [part m d] that enter `mix`.
        losses: Contribution of each group to the loss, [part].
    """

    tokens: Tensor | None
    latents: Tensor | None
    losses: Tensor | None


def largest_handful(config: TrunkConfig) -> int:
    """Return how many groups a CUDA device can compute in one call, however much memory it has.

    Attention kernels take fewer than 65,536 heads, counted over all groups (PyTorch issues 142228 and 146704), and
    kernels index the elements of a tensor with 32 bits.
    """
    heads = max(config.token_heads, config.cross_heads)
    widest = max(config.token_width * max(3, config.mlp_ratio), 2 * config.cross_heads * config.cross_head_width)
    if isinstance(config, DecoderConfig):
        widest = max(widest, config.vocabulary)
    if isinstance(config, DenoiserConfig):
        widest = max(widest, config.output_width)
    return max(1, min(65_535 // heads, (2**31 - 1) // (widest * max(config.tokens, config.latents))))


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A training step. Its callables run several times and must return the same values each time.

    Attributes:
        trunk: The segments.
        groups: All groups of the batch, on the device of the model.
        embed: Returns the tokens of a slice of the groups, packed from [part n c]; also takes its real tokens.
        start: Returns the latents [g m d] before the first segment, in the dtype of the weights.
        context: Returns the conditioning tokens [b s d]; None for a model without them.
        loss_from_tokens: Maps a slice of the groups, its real tokens and their values after the last segment, packed
            from [part n c], to the contribution of each group to the loss, [part]; None if the loss does not depend on
            the tokens.
        loss_from_latents: Maps the latents [g m d] after the last segment to a part of the loss; None if the loss does
            not depend on the latents.
        largest: Most groups in one call, see `largest_handful`; None for no limit.
        drop_path: Layers that each image skips; None if no layer is skipped.
        least_shapes: See `ExecutionPlan.shapes`.

    Raises:
        ValueError: The loss does not depend on the last segment, or the groups are inconsistent.
    """

    trunk: Trunk
    groups: Groups
    embed: Callable[[slice, RealTokens], Tensor]
    start: Callable[[], Tensor]
    context: Callable[[], Tensor] | None = None
    loss_from_tokens: Callable[[slice, RealTokens, Tensor], Tensor] | None = None
    loss_from_latents: Callable[[Tensor], LatentLoss] | None = None
    largest: int | None = None
    drop_path: DropPath | None = None
    least_shapes: int = 0
    _real: dict[tuple[int, int], RealTokens] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.groups.check()
        if self.loss_from_tokens is None and (self.loss_from_latents is None or self.segments[-1].mix is None):
            raise ValueError(
                "nothing depends on the last segment; give loss_from_tokens, or loss_from_latents and a plan that ends "
                "with global layers"
            )

    @property
    def segments(self) -> list[Segment]:
        """The segments of the trunk."""
        return list(cast("list[Segment]", self.trunk.segments))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.trunk.parameters()).device

    def of_plan(self, plan: ExecutionPlan) -> Job:
        """Return the job with as many shapes per handful as a plan asks for."""
        return self if self.least_shapes == plan.shapes else replace(self, least_shapes=plan.shapes)

    def parts(self, plan: ExecutionPlan) -> list[slice]:
        """Cut all groups into the handfuls of a plan."""
        return plan.slices(len(self.groups.number), self.largest)

    def real(self, part: slice) -> RealTokens:
        """Return the real tokens of a slice of the groups, on the device; a step finds them once."""
        key = (part.start, part.stop)
        if key not in self._real:
            real = self.groups.real_tokens(part).with_shapes(self.least_shapes)
            self._real[key] = real.map_tensors(partial(to_device, device=self.device))
        return self._real[key]

    def call(self, part: slice = EVERY, how: Call = direct) -> Call:
        """Return a `Call` for the layers over a slice of the groups, or over all images: `how`, with `drop_path`."""
        return how if self.drop_path is None else self.drop_path.scale(how, part)

    def mixes(self, index: int) -> bool:
        """Whether the step has to run `read` and `mix` of segment `index`."""
        last = index == len(self.segments) - 1
        return self.segments[index].mix is not None and not (last and self.loss_from_latents is None)

    def visit(
        self, index: int, part: slice, tokens: Tensor | None, latents: Tensor, readable: Tensor | None
    ) -> SegmentOutput:
        """Run segment `index` over a slice of the groups, up to `mix`.

        Args:
            index: Number of the segment.
            part: Slice of the groups.
            tokens: Tokens after `local` of the segment before, packed from [part n c]; None for the first segment,
                which embeds.
            latents: Latents [part m d] before this segment.
            readable: Latents [part m d] that the tokens read in `write` of the segment before, see `Trunk.readable`;
                None for the first segment.
        """
        segment, real = self.segments[index], self.real(part)
        if tokens is None or readable is None:
            parts = real.split(self.embed(part, real))
        else:
            parts = self.segments[index - 1].run_write(real.split(tokens), readable, real)
        parts = segment.run_local(parts, real, self.trunk.causal_tokens, self.call(part))
        read = segment.run_read(latents, parts, real) if self.mixes(index) else None
        if index < len(self.segments) - 1:
            return SegmentOutput(real.join(parts), read, None)
        if self.loss_from_tokens is None:
            return SegmentOutput(None, read, None)
        return SegmentOutput(None, read, self.loss_from_tokens(part, real, real.join(parts)))

    def outcome(self, losses: list[Tensor], latent_loss: LatentLoss | None) -> Outcome:
        """Sum the contributions of all groups in one operation, so that the sum does not depend on the handfuls."""
        loss = torch.cat(losses).sum() if losses else None
        if latent_loss is None:
            assert loss is not None
            return Outcome(loss, None)
        return Outcome(latent_loss.loss if loss is None else loss + latent_loss.loss, latent_loss.output)
