"""Chooses the execution of a training step that fits a budget, and finds the largest image that fits.

`fit train --memory` and `fit profile-memory` use the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fitcli.errors import FitError
from fitcli.execution.job import largest_handful
from fitcli.execution.plan import ExecutionPlan, GlobalLayers, Store
from fitcli.memory.budget import largest, size_text
from fitcli.memory.estimate import (
    Estimate,
    Training,
    estimate_step,
    fixed_parts,
    parameters_text,
    reserve_bytes,
)
from fitcli.memory.handfuls import usual_handful

KEEP_STEPS = 16
"""Number of steps in which the fraction of kept groups is varied."""

FAR_LESS = 0.7
"""After an execution runs out of memory, the next may take at most this fraction of its variable memory."""

GLOBAL_LAYERS: tuple[GlobalLayers, ...] = ("selective", "attention", "checkpoint")
"""Ways to run global layers, from the fastest to the smallest."""

SMALLEST = ExecutionPlan(kind="stream", handful=1, global_layers="rerun", store="disk")
"""The execution that takes the least memory."""

STORES: tuple[Store, ...] = ("host", "disk")
"""Stores for tokens, from the fastest to the smallest."""


class StepTooLarge(FitError):
    """No execution of a step fits.

    Attributes:
        needed_bytes: Memory that the smallest execution needs.
        parts: The same by purpose.
    """

    def __init__(self, work: Training, budget_bytes: int, needed_bytes: int, parts: dict[str, int]) -> None:
        super().__init__(_too_little_text(work, budget_bytes, needed_bytes, parts))
        self.needed_bytes, self.parts = needed_bytes, parts


@dataclass(frozen=True, slots=True)
class Choice:
    """An execution with its cost.

    Attributes:
        plan: The execution.
        estimate: Memory and operations of a step.
        extra: Additional operations, as a fraction of those of the plain step.
    """

    plan: ExecutionPlan
    estimate: Estimate
    extra: float

    def summary(self) -> str:
        """Return the choice as one line of text."""
        return f"{describe_plan(self.plan)}, about {size_text(self.estimate.needed_bytes)}, {self.extra:+.0%} computing"


def choose(work: Training, budget_bytes: int, away_bytes: int | None = None) -> Choice:
    """Choose the first execution that fits, in this order: plain, selective, recompute, stream.

    Args:
        work: The step.
        budget_bytes: Memory of the device that computes.
        away_bytes: Limit of host memory for stored tokens; None without a limit. Executions that need more are tried on
            disk.

    Raises:
        StepTooLarge: No execution fits. The message says what the smallest takes.
    """
    _refuse_early(work, budget_bytes)
    smallest: Choice | None = None
    largest = largest_handful(work.config)
    for choice in _candidates(work, budget_bytes):
        if (work.shards and not choice.plan.shardable) or (work.compiled and not choice.plan.compilable):
            continue
        if work.device != "cpu" and not choice.plan.in_handfuls and work.images * work.own_groups > largest:
            # Its kernels could not be launched, however much memory there is.
            continue
        fits_away = choice.plan.store != "host" or away_bytes is None or choice.estimate.away_bytes <= away_bytes
        if choice.estimate.needed_bytes <= budget_bytes and fits_away:
            return choice
        if smallest is None or choice.estimate.needed_bytes < smallest.estimate.needed_bytes:
            smallest = choice
    assert smallest is not None
    raise StepTooLarge(work, budget_bytes, smallest.estimate.needed_bytes, smallest.estimate.parts)


def _refuse_early(work: Training, budget_bytes: int) -> None:
    """Raise StepTooLarge if not even weights, optimizer and libraries fit, with one dry run instead of one each."""
    fixed = fixed_parts(work)
    if sum(fixed.values()) + reserve_bytes(work.device, fixed) > budget_bytes:
        least = estimate_step(work, SMALLEST)
        raise StepTooLarge(work, budget_bytes, least.needed_bytes, least.parts)


def cheaper_choice(work: Training, choice: Choice) -> Choice | None:
    """Choose an execution that takes far less than one that ran out of memory; None if there is none."""
    fixed = choice.estimate.fixed_bytes
    budget = int(fixed + FAR_LESS * (choice.estimate.needed_bytes - fixed))
    try:
        return choose(work, budget)
    except FitError:
        return None


COMPARED = "layers"
"""Name of the execution that a table shows for comparison: `choose` never takes it."""


def named_plans(work: Training) -> dict[str, ExecutionPlan]:
    """Return the executions that a table shows, by name, from the fastest to the smallest."""
    handful = usual_handful(work.config, "step", work.device)
    recompute = ExecutionPlan(kind="recompute", handful=handful)
    return {
        "plain": ExecutionPlan(),
        COMPARED: ExecutionPlan(kind="layers"),
        "selective": replace(recompute, keep=1.0, selective=True, global_layers="selective"),
        "selective, half kept": replace(recompute, keep=0.5, selective=True, global_layers="selective"),
        "recompute": replace(recompute, global_layers="attention"),
        "recompute all": replace(recompute, global_layers="checkpoint"),
        "stream": ExecutionPlan(kind="stream", handful=handful, global_layers="attention"),
        "stream, from disk": ExecutionPlan(kind="stream", handful=handful, global_layers="rerun", store="disk"),
    }


def evaluate_plan(work: Training, plan: ExecutionPlan) -> Choice:
    """Return an execution with its cost."""
    estimate, plain = estimate_step(work, plan), estimate_step(work, ExecutionPlan())
    return Choice(plan, estimate, estimate.total_flops / plain.total_flops - 1)


def largest_side(work: Training, plan: ExecutionPlan, budget_bytes: int, most: int = 4096) -> int:
    """Return the groups per side of the largest square image whose step fits; 0 if not even one group does.

    Args:
        work: The step, of any number of groups.
        plan: Its execution.
        budget_bytes: Memory of the device that computes.
        most: Largest result.
    """

    def fits(side: int) -> bool:
        return estimate_step(replace(work, groups=side * side), plan).needed_bytes <= budget_bytes

    return largest(fits, most)


def describe_plan(plan: ExecutionPlan) -> str:
    """Return an execution in words."""
    match plan.kind:
        case "plain":
            return "plain: everything is kept"
        case "layers":
            return "every layer is recomputed"
        case "recompute":
            kept = "matrix products" if plan.selective else "activations"
            fraction = f"{kept} kept of {plan.keep:.0%} of the groups, " if plan.keep else ""
            return f"recomputing: {fraction}{_global(plan)}"
        case "stream":
            where = {"device": "on the device", "host": "in host memory", "disk": "on disk"}[plan.store]
            return f"streamed: tokens rest {where}, {_global(plan)}"


def _global(plan: ExecutionPlan) -> str:
    return {
        "keep": "global layers kept",
        "selective": "matrix products of global layers kept",
        "attention": "attention of global layers kept",
        "checkpoint": "global layers recomputed",
        "rerun": "global layers run again",
    }[plan.global_layers]


def _candidates(work: Training, budget_bytes: int) -> Iterator[Choice]:
    """Yield executions in the order in which they are tried: plain, selective, recompute, stream."""
    yield evaluate_plan(work, ExecutionPlan())
    yield _most_kept(work, budget_bytes)
    handfuls = _handfuls(work)
    for layers in GLOBAL_LAYERS:
        for handful in handfuls[:2]:
            yield evaluate_plan(work, ExecutionPlan(kind="recompute", handful=handful, global_layers=layers))
    for layers in (*GLOBAL_LAYERS, "rerun"):
        for handful in handfuls if layers == "rerun" else handfuls[:2]:
            for store in STORES:
                plan = ExecutionPlan(kind="stream", handful=handful, global_layers=layers, store=store)
                yield evaluate_plan(work, plan)


def _handfuls(work: Training) -> list[int]:
    """Return sizes of handfuls to try: the usual one, a quarter of it, one group."""
    usual = usual_handful(work.config, "step", work.device)
    return sorted({usual, max(1, usual // 4), 1}, reverse=True)


def _most_kept(work: Training, budget_bytes: int) -> Choice:
    """Return the execution that recomputes as few groups as fit: the largest possible fraction is kept."""
    selective = not (work.shards or work.compiled)

    def plan(kept: int) -> ExecutionPlan:
        return ExecutionPlan(
            kind="recompute",
            handful=usual_handful(work.config, "step", work.device),
            keep=kept / KEEP_STEPS,
            selective=selective,
            global_layers="selective" if selective else "checkpoint",
        )

    most = largest(lambda kept: estimate_step(work, plan(kept)).needed_bytes <= budget_bytes, KEEP_STEPS)
    return evaluate_plan(work, plan(most))


def _too_little_text(work: Training, budget_bytes: int, needed_bytes: int, parts: dict[str, int]) -> str:
    largest_parts = sorted(parts.items(), key=lambda part: -part[1])[:3]
    largest_text = ", ".join(f"{name} {size_text(size)}" for name, size in largest_parts)
    return (
        f"{size_text(budget_bytes)} are too little: a training step of this model of {parameters_text(work.config)} "
        f"takes at least {size_text(needed_bytes)} ({largest_text}); "
        "give more with --memory, or use a smaller model, batch or --size"
    )
