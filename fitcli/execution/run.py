"""Runs a training step as an execution plan says. Loss and gradients are the same for every plan."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from functools import partial

import torch
from torch import Tensor

from fitcli.execution.job import Job, Outcome, SegmentOutput
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.recompute import global_call, recompute, recompute_cheap, uncached_autocast, without_autocast
from fitcli.execution.stream import Stream
from models.layers import direct


def run_job(job: Job, plan: ExecutionPlan, weight: float = 1.0) -> Outcome:
    """Compute the loss of a step and add its gradients to those of the parameters.

    The step runs in the autocast of the caller. After an error some gradients may have been added already.

    Args:
        job: The step.
        plan: Its execution.
        weight: Factor of the loss in the gradients.

    Returns:
        The loss, without `weight`, and the output of the job; both without a graph.
    """
    if plan.kind == "stream":
        with torch.enable_grad(), uncached_autocast(job.device), ExitStack() as resources:
            return Stream(job, plan, weight, resources).run()
    return backward(partial(forward, job, plan), plan, weight, job.device)


def backward(forward_pass: Callable[[], Outcome], plan: ExecutionPlan, weight: float, device: torch.device) -> Outcome:
    """Run a forward pass and its backward pass.

    Args:
        forward_pass: Returns the outcome with its graph, as `forward` does.
        plan, weight: As in `run_job`.
        device: Device of the model.

    Returns:
        The outcome without a graph.
    """
    with torch.enable_grad(), nullcontext() if plan.kind == "plain" else uncached_autocast(device):
        outcome = forward_pass()
        with without_autocast(device):
            outcome.loss.backward(torch.full_like(outcome.loss, weight))  # type: ignore[no-untyped-call]
    return Outcome(outcome.loss.detach(), None if outcome.output is None else outcome.output.detach())


def forward(job: Job, plan: ExecutionPlan) -> Outcome:
    """Return the outcome of a step with its graph. The plan must not stream: a streamed step has many graphs."""
    job = job.of_plan(plan)
    return _run_handfuls(job, plan) if plan.kind == "recompute" else _run_whole(job, plan)


def _run_whole(job: Job, plan: ExecutionPlan) -> Outcome:
    """Run all groups at once by `Trunk.forward`; the kind "layers" recomputes every layer."""
    every = slice(0, len(job.groups.number))
    context = None if job.context is None else job.context()
    call, real = job.call(every, recompute if plan.kind == "layers" else direct), job.real(every)
    tokens, latents = job.trunk(job.embed(every, real), job.start(), job.groups, real, context, call)
    losses = [] if job.loss_from_tokens is None else [job.loss_from_tokens(every, real, tokens)]
    return job.outcome(losses, None if job.loss_from_latents is None else job.loss_from_latents(latents))


def _run_handfuls(job: Job, plan: ExecutionPlan) -> Outcome:
    """Run each handful as an autograd node of its own, which keeps its inputs and is replayed in the backward pass."""
    parts = job.parts(plan)
    sizes = [part.stop - part.start for part in parts]
    calls = _calls(plan, len(parts))
    latents = job.start()  # [g m d]
    context = None if job.context is None else job.context()
    tokens: list[Tensor | None] = [None] * len(parts)
    losses: list[Tensor] = []
    for index, segment in enumerate(job.segments):
        # Split rather than sliced: the gradient of a slice is as large as all latents.
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
    """Return the call of each handful. The last handfuls are kept: their backward pass comes first and frees them."""
    kept = plan.kept(handfuls)
    replayed: list[Callable[..., SegmentOutput]] = [recompute] * (handfuls - kept)
    return replayed + [recompute_cheap if plan.selective else direct] * kept
