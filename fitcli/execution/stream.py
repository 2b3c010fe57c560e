"""Runs a training step without an autograd graph over more than a handful of groups.

The forward pass sweeps once over the handfuls per segment. The tokens that enter the next segment go to a store. The
backward pass goes from the last segment to the first. It recomputes each handful with gradients, and the gradient of
the tokens that entered it takes their place in the store. The device holds the weights, a few times the latents and one
handful.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.execution.job import Job, LatentLoss, Outcome, SegmentOutput
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.recompute import global_call, without_autocast
from fitcli.streaming.token_store import TokenStore
from models.layers import direct


class _Mixed(NamedTuple):
    """The latents around one `mix`.

    Attributes:
        before: Its input, a leaf of the graph.
        after: Its result with its graph; None if it runs again in the backward pass.
    """

    before: Tensor
    after: Tensor | None


@dataclass
class Stream:
    """One streamed step. The caller closes `resources` after it, and with them the stores.

    Attributes:
        job: The step.
        plan: Its execution.
        weight: Factor of the loss in the gradients.
        resources: Holds the open stores.
    """

    job: Job
    plan: ExecutionPlan
    weight: float
    resources: ExitStack
    _stores: dict[int, TokenStore] = field(default_factory=dict)
    _latents: list[Tensor] = field(default_factory=list)
    _mixed: dict[int, _Mixed] = field(default_factory=dict)
    _losses: list[Tensor] = field(default_factory=list)
    _context: Tensor | None = None

    def run(self) -> Outcome:
        """Return the outcome and add the gradients to those of the parameters."""
        job = self.job
        context = None if job.context is None else job.context()
        self._context = None if context is None else context.detach().requires_grad_()
        latents = self._forward()
        latent_loss, gradient = self._latent_loss(latents)
        del latents
        for index in reversed(range(len(job.segments))):
            mixing = self._mix_backward(index, gradient) if job.mixes(index) else None
            gradient = self._segment_backward(index, mixing)
        if gradient is not None:
            self._backward([(job.start(), gradient)])
        if context is not None and self._context is not None and self._context.grad is not None:
            self._backward([(context, self._context.grad)])
        return job.outcome(self._losses, latent_loss)

    @torch.no_grad()
    def _forward(self) -> Tensor:
        """Run the segments and return the latents after the last one."""
        latents = self.job.start()
        for index in range(len(self.job.segments)):
            self._latents.append(latents)
            if index == len(self.job.segments) - 1 and not self.job.mixes(index):
                # Only the losses depend on this segment, and the backward sweep computes them anyway.
                break
            latents = self._mix(index, self._sweep(index, latents))
        return latents

    def _sweep(self, index: int, latents: Tensor) -> Tensor:
        """Run a segment over all groups, store its tokens, and return the latents that enter its `mix`."""
        read = torch.empty_like(latents)
        readable = self._readable(index, latents)
        for part in self.job.parts(self.plan):
            tokens = self._get(index, part) if index else None
            visit = self.job.visit(index, part, tokens, latents[part], None if readable is None else readable[part])
            assert visit.latents is not None
            read[part] = visit.latents
            if visit.tokens is not None:
                self._put(index + 1, part, visit.tokens)
        return read

    def _get(self, index: int, part: slice) -> Tensor:
        """Return the tokens that enter a segment, or their gradient, packed."""
        return self.job.real(part).pack(self._stores[index].get(part))

    def _put(self, index: int, part: slice, packed: Tensor) -> None:
        """Store the tokens that enter a segment, or their gradient."""
        values = self.job.real(part).unpack(packed)
        self._store(index, values).put(part, values)

    def _readable(self, index: int, latents: Tensor) -> Tensor | None:
        return self.job.trunk.readable(latents, self.job.groups) if index else None

    def _store(self, index: int, like: Tensor) -> TokenStore:
        """Return the store of the tokens that enter a segment; open it when the first handful shows their shape."""
        if index not in self._stores:
            shape = (len(self.job.groups.number), like.shape[1], like.shape[2])
            self._stores[index] = self.resources.enter_context(self.plan.open_store(shape, like.dtype, self.job.device))
        return self._stores[index]

    def _mix(self, index: int, latents: Tensor) -> Tensor:
        mix = self.job.segments[index].mix
        assert mix is not None
        rerun = self.plan.global_layers == "rerun"
        with torch.set_grad_enabled(not rerun):
            leaf = latents.requires_grad_()
            how = direct if rerun else global_call(self.plan)
            mixed: Tensor = mix(leaf, self.job.groups, self._context, self.job.call(how=how))
        self._mixed[index] = _Mixed(leaf, None if rerun else mixed)
        return mixed.detach().to(latents.dtype)

    def _latent_loss(self, latents: Tensor) -> tuple[LatentLoss | None, Tensor | None]:
        """Return the loss that depends on the latents, and its gradient with respect to them."""
        if self.job.loss_from_latents is None:
            return None, None
        leaf = latents.detach().requires_grad_()
        with torch.enable_grad():
            result = self.job.loss_from_latents(leaf)
        self._backward([(result.loss, torch.full_like(result.loss, self.weight))])
        output = None if result.output is None else result.output.detach()
        return LatentLoss(result.loss.detach(), output), leaf.grad

    def _mix_backward(self, index: int, gradient: Tensor | None) -> Tensor:
        """Turn the gradient of the latents after `mix` into that of the latents before it."""
        mix, (before, after) = self.job.segments[index].mix, self._mixed.pop(index)
        assert mix is not None
        assert gradient is not None
        if after is None:
            with torch.enable_grad():
                after = mix(before, self.job.groups, self._context, self.job.call(how=global_call(self.plan)))
        self._backward([(after, gradient)])
        assert before.grad is not None
        return before.grad

    def _segment_backward(self, index: int, read: Tensor | None) -> Tensor | None:
        """Replay a segment with gradients.

        Args:
            index: Number of the segment.
            read: Gradient [g m d] of the latents that entered its `mix`; None if `mix` did not run.

        Returns:
            Gradient [g m d] of the latents before the segment; None if the loss does not depend on them.
        """
        latents = self._latents.pop()
        readable = self._readable(index, latents)
        gradient = torch.zeros_like(latents) if read is not None or readable is not None else None
        readable_gradient = None if readable is None else torch.empty_like(readable)
        for part in self.job.parts(self.plan):
            tokens = self._get(index, part).requires_grad_() if index else None
            leaf = latents[part].detach().requires_grad_()
            written = None if readable is None else readable[part].detach().requires_grad_()
            with torch.enable_grad():
                visit = self.job.visit(index, part, tokens, leaf, written)
            self._replay(index, part, visit, None if read is None else read[part])
            if gradient is not None and leaf.grad is not None:
                gradient[part] = leaf.grad
            if tokens is not None and written is not None and readable_gradient is not None:
                assert tokens.grad is not None
                assert written.grad is not None
                self._put(index, part, tokens.grad)
                readable_gradient[part] = written.grad
        if index + 1 in self._stores:
            self._stores.pop(index + 1).close()
        if gradient is not None and readable_gradient is not None:
            gradient += self._through_readable(latents, readable_gradient)
        return gradient

    def _replay(self, index: int, part: slice, visit: SegmentOutput, read: Tensor | None) -> None:
        """Run the backward pass of one handful."""
        pairs = []
        if visit.tokens is not None:
            pairs.append((visit.tokens, self._get(index + 1, part)))
        if visit.latents is not None and read is not None:
            pairs.append((visit.latents, read))
        if visit.losses is not None:
            pairs.append((visit.losses, torch.full_like(visit.losses, self.weight)))
            self._losses.append(visit.losses.detach())
        self._backward(pairs)

    def _through_readable(self, latents: Tensor, gradient: Tensor) -> Tensor:
        """Turn the gradient of the latents that the tokens read into that of the latents themselves."""
        leaf = latents.detach().requires_grad_()
        with torch.enable_grad():
            readable = self.job.trunk.readable(leaf, self.job.groups)
        return torch.autograd.grad(readable, leaf, gradient)[0]

    def _backward(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        pairs = [(value, gradient.to(value.dtype)) for value, gradient in pairs if value.requires_grad]
        if pairs:
            values, gradients = zip(*pairs, strict=True)
            with without_autocast(self.job.device):
                torch.autograd.backward(values, gradients)
