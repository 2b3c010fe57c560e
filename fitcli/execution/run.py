"""Runs a training step as a plan says: the same loss and gradients, whatever the plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial

import torch
from torch import Tensor

from fitcli.execution.job import Job, Outcome, SegmentOutput
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.recompute import global_call, recomputing, selective, uncached_autocast, without_autocast
from fitcli.execution.stream import OpenStore, Stream
from fitcli.streaming.token_store import open_store
from models.layers import direct


def run_job(job: Job, plan: ExecutionPlan, weight: float = 1.0, new_store: OpenStore | None = None) -> Outcome:
    """Compute the loss of a step and add its gradients to those of the parameters.

    Runs in the autocast that is on when it is called. After an error some gradients may have been added.

    Args:
        job: What to compute.
        plan: How.
        weight: Of the loss in the gradients.
        new_store: Opens the stores of a streamed execution, in place of what the plan says.

    Returns:
        The loss, without the weight, and what the conclusion of the job put out; both without a graph.
    """
    if plan.kind == "stream":
        with torch.enable_grad(), uncached_autocast(job.device), ExitStack() as resources:
            return Stream(job, plan, weight, new_store or partial(open_store, plan.store), resources).run()
    return descend(partial(forward, job, plan), plan, weight, job.device)


def descend(ascend: Callable[[], Outcome], plan: ExecutionPlan, weight: float, device: torch.device) -> Outcome:
    """One forward pass and its backward pass.

    Args:
        ascend: Gives the outcome with its graph, as `forward` does.
        plan, weight: As in `run_job`.
        device: That computes.
    """
    with torch.enable_grad(), nullcontext() if plan.kind == "plain" else uncached_autocast(device):
        outcome = ascend()
        with without_autocast(device):
            outcome.loss.backward(torch.full_like(outcome.loss, weight))  # type: ignore[no-untyped-call]
    return Outcome(outcome.loss.detach(), None if outcome.output is None else outcome.output.detach())


def forward(job: Job, plan: ExecutionPlan) -> Outcome:
    """The outcome of a step with its graph, where one backward pass follows: the plan is not to stream."""
    return recomputed(job, plan) if plan.kind == "recompute" else whole(job, plan)


def whole(job: Job, plan: ExecutionPlan) -> Outcome:
    """All groups at once: `Trunk.forward`, with every layer recomputed where the kind is "layers"."""
    every = slice(0, len(job.groups.number))
    context = None if job.context is None else job.context()
    call = job.call(every, recomputing if plan.kind == "layers" else direct)
    tokens, latents = job.trunk(job.embed(every), job.start(), job.groups, context, call)
    losses = [] if job.loss_from_tokens is None else [job.loss_from_tokens(every, tokens)]
    return job.outcome(losses, None if job.loss_from_latents is None else job.loss_from_latents(latents))


def recomputed(job: Job, plan: ExecutionPlan) -> Outcome:
    """A handful at a time, each an autograd node of its own that keeps its inputs and replays what leads to them."""
    parts = job.parts(plan.handful, plan.calls)
    sizes = [part.stop - part.start for part in parts]
    calls = _calls(plan, len(parts))
    latents = job.start()  # [g m d]
    context = None if job.context is None else job.context()
    tokens: list[Tensor | None] = [None] * len(parts)
    losses: list[Tensor] = []
    for index, segment in enumerate(job.segments):
        # Split, not sliced: the gradient of a slice is as large as all latents.
        before = torch.split(latents, sizes)
        readable = torch.split(job.trunk.readable(latents, job.groups), sizes) if index else [None] * len(parts)
        visits = [
            call(job.visit, index, *each) for call, *each in zip(calls, parts, tokens, before, readable, strict=True)
        ]
        tokens = [visit.tokens for visit in visits]
        losses += [visit.losses for visit in visits if visit.losses is not None]
        if segment.mix is not None and job.mixes(index):
            read = torch.cat([visit.latents for visit in visits if visit.latents is not None])
            latents = segment.mix(read, job.groups, context, job.call(how=global_call(plan)))
    return job.outcome(losses, None if job.loss_from_latents is None else job.loss_from_latents(latents))


def _calls(plan: ExecutionPlan, handfuls: int) -> list[Callable[..., SegmentOutput]]:
    """How each handful is run. The last ones are kept: theirs is the first backward pass, which frees them."""
    kept = plan.kept(handfuls)
    replayed: list[Callable[..., SegmentOutput]] = [recomputing] * (handfuls - kept)
    return replayed + [selective if plan.selective else direct] * kept
