"""Runs a training step without its backward pass: for validation, and for the latents that a step starts from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.execution.job import Job, LatentLoss
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.recompute import uncached_autocast
from fitcli.streaming.token_store import TokenStore


class Forward(NamedTuple):
    """The results of a forward pass.

    Attributes:
        latents: Latents [g m d] after the last `mix`.
        losses: Contribution of each group to the loss, [g]; None if the pass was run without losses.
    """

    latents: Tensor
    losses: Tensor | None


def last_latents(job: Job, plan: ExecutionPlan) -> Tensor:
    """Return the latents [g m d] after the last segment, without a graph. Nothing after the last `mix` runs."""
    loss_from_tokens = None if job.segments[-1].mix is not None else job.loss_from_tokens
    return _forward(
        replace(job, loss_from_latents=_no_loss, loss_from_tokens=loss_from_tokens), plan, with_losses=False
    ).latents


def group_losses(job: Job, plan: ExecutionPlan) -> Tensor:
    """Return the contribution [g] of each group to the loss, without a graph. The job needs a `loss_from_tokens`."""
    losses = _forward(job, plan, with_losses=True).losses
    assert losses is not None
    return losses


def _no_loss(latents: Tensor) -> LatentLoss:
    return LatentLoss(latents.new_zeros(()))


@torch.no_grad()
def _forward(job: Job, plan: ExecutionPlan, with_losses: bool) -> Forward:
    """Sweep once over the handfuls per segment. Between sweeps the tokens rest in the store that the plan names.

    This holds the tokens once. The step itself holds them at every segment boundary.
    """
    job, count = job.of_plan(plan), len(job.groups.number)
    parts = job.parts(plan)
    losses: list[Tensor] = []
    store: TokenStore | None = None
    mixing = [index for index in range(len(job.segments)) if job.mixes(index)]
    stop = len(job.segments) if with_losses else max(mixing, default=-1) + 1
    # A weight that is cast here has no graph: the step itself must not find it in the cache of autocast.
    with ExitStack() as resources, uncached_autocast(job.device):
        latents, context = job.start(), None if job.context is None else job.context()
        for index, segment in enumerate(job.segments[:stop]):
            readable = job.trunk.readable(latents, job.groups) if index else None
            read: list[Tensor] = []
            for part in parts:
                real = job.real(part)
                tokens = real.pack(store.get(part)) if index and store is not None else None
                visit = job.visit(index, part, tokens, latents[part], None if readable is None else readable[part])
                if visit.tokens is not None and index + 1 < stop:
                    values = real.unpack(visit.tokens)
                    if store is None:
                        shape = (count, *values.shape[1:])
                        store = resources.enter_context(plan.open_store(shape, values.dtype, job.device))
                    store.put(part, values)
                if visit.latents is not None:
                    read.append(visit.latents)
                if visit.losses is not None and with_losses:
                    losses.append(visit.losses)
            if segment.mix is not None and index in mixing:
                latents = segment.mix(torch.cat(read), job.groups, context, job.call())
    return Forward(latents, torch.cat(losses) if losses else None)
