"""Executions of a training step on paper: the twin of `execution/run.py` and `execution/stream.py`."""

from __future__ import annotations

from functools import partial

from fitcli.execution.plan import GlobalLayers
from fitcli.memory.paper.layers import PRODUCTS, Layer
from fitcli.memory.paper.ledger import Buffer, Node, Value, backward
from fitcli.memory.paper.operations import FLOAT
from fitcli.memory.paper.step import Bundle, PaperStep, PaperVisit, bundles, visit_segment

GLOBAL: dict[GlobalLayers, Layer] = {
    "keep": "direct",
    "selective": "selective",
    "attention": "attention",
    "checkpoint": "checkpoint",
    "rerun": "checkpoint",
}
"""How to run the layers of `mix`, by the entry of a plan."""


def whole(step: PaperStep) -> None:
    """Run a step plainly, or with every layer recomputed."""
    step.backward(forward(step, "checkpoint" if step.plan.kind == "layers" else "direct"))


def forward(step: PaperStep, layer: Layer = "direct") -> list[Value | None]:
    """Run stem, `Trunk.forward` and head over all groups at once; return the losses."""
    parts, groups = step.parts, step.groups
    tokens, latents = step.ends.embed(groups), step.start()
    for index in range(step.segments):
        tokens = parts.local(tokens, groups, index, layer)
        if not parts.config.segments[index][1]:
            break
        latents = parts.call(layer, partial(parts.read, groups=groups, segment=index), latents, tokens)
        latents = parts.mix(latents, groups, index, layer)
        if index < step.segments - 1:
            tokens = parts.call(layer, partial(parts.write, groups=groups, segment=index), tokens, latents)
    return [step.ends.loss_from_tokens(tokens, groups), step.ends.loss_from_latents(latents, groups)]


def recomputed(step: PaperStep) -> None:
    """Run a step a handful at a time; the backward pass replays all but the kept handfuls."""
    run, every = step.run, bundles(step.groups, step.plan)
    latents = step.start()
    losses: list[Value | None] = []
    sizes = [step.latent_bytes * bundle.groups // step.groups for bundle in every]
    tokens: list[Value | None] = [None] * len(every)
    for index in range(step.segments):
        with run.labelled("latents"):
            before = run.split(latents, sizes)
            readable: list[Value] | list[None] = run.split(latents, sizes) if index else [None] * len(every)
        visits = [_kept_or_replayed(step, index, *each) for each in zip(every, tokens, before, readable, strict=True)]
        tokens = [visit.tokens for visit in visits]
        losses += [visit.losses for visit in visits]
        if step.mixes(index):
            with run.labelled("latents"):
                latents = run.joined([visit.read for visit in visits if visit.read is not None], step.latent_bytes)
            latents = step.parts.mix(latents, step.groups, index, GLOBAL[step.plan.global_layers])
    losses.append(step.ends.loss_from_latents(latents, step.groups))
    del tokens, latents, visits, before, readable
    step.backward(losses)


def _kept_or_replayed(
    step: PaperStep, index: int, bundle: Bundle, tokens: Value | None, latents: Value, readable: Value | None
) -> PaperVisit:
    run, plan = step.run, step.plan
    with run.ledger.repeated(bundle.times):
        if bundle.kept and not plan.selective:
            return visit_segment(step, index, bundle.groups, tokens, latents, readable)
        products = PRODUCTS["selective"] if bundle.kept else ()
        return PaperVisit(
            *run.checkpoint(partial(visit_segment, step, index, bundle.groups), [tokens, latents, readable], products)
        )


def streamed(step: PaperStep) -> None:
    """Run a step without a graph of more than a handful; tokens rest in stores."""
    with step.run.recorded(False):
        latents = [step.start()]
    mixed: list[tuple[Value, Value]] = []
    for index in range(step.segments):
        if index == step.segments - 1 and not step.mixes(index):
            latents.append(latents[-1])
            break
        read = _sweep(step, index, latents[index])
        mixed.append(_mixed(step, index, read))
        latents.append(Value(mixed[index][1].buffer))
    gradient: Buffer | None = _through_loss(step, latents.pop())
    for index in reversed(range(step.segments)):
        if step.mixes(index):
            before, after = mixed.pop()
            if after.node is None:
                after = step.parts.mix(before, step.groups, index, "checkpoint")
            gradient = backward([(after, gradient)])[before.node]
            del before, after
        gradient = _segment_backward(step, index, latents.pop(), gradient)
    backward([(step.start(), gradient)])


def _sweep(step: PaperStep, index: int, latents: Value) -> Value:
    """Run a segment forward over all handfuls; return the result of `read`."""
    run = step.run
    with run.labelled("latents"):
        read = Value(run.make(step.latent_bytes), Node(run.ledger))
    if index < step.segments - 1:
        step.rest(index + 1)
    with run.recorded(False):
        for bundle in bundles(step.groups, step.plan):
            with run.ledger.repeated(bundle.times):
                visit_segment(step, index, bundle.groups, *step.entering(index, bundle, latents, wanted=False))
    return read


def _mixed(step: PaperStep, index: int, read: Value) -> tuple[Value, Value]:
    """Run `mix`; return its input and its output."""
    with step.run.recorded(step.plan.global_layers != "rerun"):
        return read, step.parts.mix(read, step.groups, index, GLOBAL[step.plan.global_layers])


def _through_loss(step: PaperStep, latents: Value) -> Buffer | None:
    leaf = Value(latents.buffer, Node(step.run.ledger))
    loss = step.ends.loss_from_latents(leaf, step.groups)
    return None if loss is None else backward([(loss, step.run.make(FLOAT))])[leaf.node]


def _segment_backward(step: PaperStep, index: int, latents: Value, read: Buffer | None) -> Buffer:
    """Run each handful again, and its backward pass; return the gradient of the latents before the segment."""
    run = step.run
    with run.labelled("latents"):
        gradient = run.make(step.latent_bytes)
        readable = run.make(step.latent_bytes) if index else None
    for bundle in bundles(step.groups, step.plan):
        with run.ledger.repeated(bundle.times):
            _replay(step, index, bundle, latents, read)
    step.leave(index + 1)
    del readable
    return gradient


def _replay(step: PaperStep, index: int, bundle: Bundle, latents: Value, read: Buffer | None) -> None:
    entering = step.entering(index, bundle, latents, wanted=True)
    visit = visit_segment(step, index, bundle.groups, *entering)
    tokens = None if visit.tokens is None else step.tokens(bundle)
    roots = [(visit.tokens, tokens), (visit.read, read), (visit.losses, step.run.make(FLOAT))]
    del visit, tokens
    leaves = backward(roots)
    del entering, leaves
