"""A training step without its backward pass: for validation, and for what a step starts from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from fitcli.execution.job import Job, LatentLoss
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.recompute import uncached_autocast
from fitcli.execution.stream import OpenStore
from fitcli.streaming.token_store import TokenStore, open_store


class Forward(NamedTuple):
    """What a forward pass gives.

    Attributes:
        latents: [g m d] after the last `mix`.
        losses: [g], what each group contributes to the loss; None where they were not wanted.
    """

    latents: Tensor
    losses: Tensor | None


def last_latents(job: Job, plan: ExecutionPlan, new_store: OpenStore | None = None) -> Tensor:
    """The latents [g m d] after the last segment, without a graph. What comes after the last `mix` is left out."""
    loss_from_tokens = None if job.segments[-1].mix is not None else job.loss_from_tokens
    return _forward(
        replace(job, loss_from_latents=_nothing, loss_from_tokens=loss_from_tokens), plan, new_store, with_losses=False
    ).latents


def group_losses(job: Job, plan: ExecutionPlan, new_store: OpenStore | None = None) -> Tensor:
    """What each group contributes to the loss of a job that has a `loss_from_tokens`, [g], without a graph."""
    losses = _forward(job, plan, new_store, with_losses=True).losses
    assert losses is not None
    return losses


def _nothing(latents: Tensor) -> LatentLoss:
    return LatentLoss(latents.new_zeros(()))


@torch.no_grad()
def _forward(job: Job, plan: ExecutionPlan, new_store: OpenStore | None, with_losses: bool) -> Forward:
    """One sweep over the handfuls per segment; the tokens rest in one store in between, where the plan says.

    Holds the tokens once, where the step itself holds them at every segment boundary.
    """
    streamed = plan.kind == "stream"
    count = len(job.groups.number)
    parts = job.parts(plan.handful if plan.kind in ("recompute", "stream") else count, plan.calls)
    opened = new_store or partial(open_store, plan.store if streamed else "device")
    losses: list[Tensor] = []
    store: TokenStore | None = None
    mixing = [index for index in range(len(job.segments)) if job.mixes(index)]
    stop = len(job.segments) if with_losses else max(mixing, default=-1) + 1
    # A weight that is cast without a graph must not be found in the cache by the step itself.
    with ExitStack() as resources, uncached_autocast(job.device):
        latents, context = job.start(), None if job.context is None else job.context()
        for index, segment in enumerate(job.segments[:stop]):
            readable = job.trunk.readable(latents, job.groups) if index else None
            read: list[Tensor] = []
            for part in parts:
                tokens = store.get(part) if index and store is not None else None
                visit = job.visit(index, part, tokens, latents[part], None if readable is None else readable[part])
                if visit.tokens is not None and index + 1 < stop:
                    if store is None:
                        shape = (count, visit.tokens.shape[1], visit.tokens.shape[2])
                        store = resources.enter_context(opened(shape, visit.tokens.dtype, job.device))
                    store.put(part, visit.tokens)
                if visit.latents is not None:
                    read.append(visit.latents)
                if visit.losses is not None and with_losses:
                    losses.append(visit.losses)
            if segment.mix is not None and index in mixing:
                latents = segment.mix(torch.cat(read), job.groups, context, job.call())
    return Forward(latents, torch.cat(losses) if losses else None)
