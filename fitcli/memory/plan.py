"""Which execution of a training step fits into a budget, and the largest image that does. Arithmetic only.

The same function decides in `fit train --memory` and answers in `fit profile-memory`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan, GlobalLayers, Store
from fitcli.memory.budget import size_text
from fitcli.memory.estimate import Estimate, Training, estimate_step, parameters

STEP_HANDFUL_TOKENS = {"cpu": 2048, "cuda": 8192, "mps": 8192}
"""Tokens that a training step computes together where not all are."""

SHARES = 16
"""Steps of the share of handfuls that are kept."""

FAR_LESS = 0.7
"""Share of what comes and goes in a step that the next smaller one may take."""

GLOBAL_LAYERS: tuple[GlobalLayers, ...] = ("selective", "attention", "checkpoint")
"""From the fastest to the smallest."""

STORES: tuple[Store, ...] = ("host", "disk")


@dataclass(frozen=True, slots=True)
class Choice:
    """An execution with what it takes.

    Attributes:
        plan: How.
        estimate: What it takes.
        extra: Operations beyond those of the plain step, as a share of them.
    """

    plan: ExecutionPlan
    estimate: Estimate
    extra: float

    def summary(self) -> str:
        """One line for a person."""
        return f"{describe_plan(self.plan)}, about {size_text(self.estimate.needed_bytes)}, {self.extra:+.0%} computing"


def choose(work: Training, budget_bytes: int, away_bytes: int | None = None) -> Choice:
    """The execution with the fewest operations that fits.

    Args:
        work: The step.
        budget_bytes: Of the device that computes.
        away_bytes: Of host memory for tokens at rest beside a device; None without a limit. What is more goes to disk.

    Raises:
        FitError: None fits; says what the smallest takes.
    """
    smallest: Choice | None = None
    for choice in _candidates(work, budget_bytes):
        if (work.shards and not choice.plan.shardable) or (work.compiled and not choice.plan.compilable):
            continue
        fits_away = choice.plan.store != "host" or away_bytes is None or choice.estimate.away_bytes <= away_bytes
        if choice.estimate.needed_bytes <= budget_bytes and fits_away:
            return choice
        if smallest is None or choice.estimate.needed_bytes < smallest.estimate.needed_bytes:
            smallest = choice
    assert smallest is not None
    raise FitError(_too_little(work, smallest, budget_bytes))


def cheaper_choice(work: Training, choice: Choice) -> Choice | None:
    """What to go on with where a choice runs out of memory all the same: what takes far less; None if nothing does."""
    fixed = choice.estimate.fixed_bytes
    budget = int(fixed + FAR_LESS * (choice.estimate.needed_bytes - fixed))
    try:
        return choose(work, budget)
    except FitError:
        return None


def executions(work: Training) -> Iterator[tuple[str, Choice]]:
    """What there is to choose from, by name, each at its smallest."""
    for name, plan in named_plans(work).items():
        yield name, evaluate_plan(work, plan)


def named_plans(work: Training) -> dict[str, ExecutionPlan]:
    """The executions that a table shows, from the fastest to the smallest."""
    handful = usual_handful(work)
    recompute = ExecutionPlan(kind="recompute", handful=handful)
    return {
        "plain": ExecutionPlan(),
        "layers": ExecutionPlan(kind="layers"),
        "selective": replace(recompute, keep=1.0, selective=True, global_layers="selective"),
        "selective, half kept": replace(recompute, keep=0.5, selective=True, global_layers="selective"),
        "recompute": replace(recompute, global_layers="attention"),
        "recompute all": replace(recompute, global_layers="checkpoint"),
        "stream": ExecutionPlan(kind="stream", handful=handful, global_layers="attention"),
        "stream, from disk": ExecutionPlan(kind="stream", handful=handful, global_layers="rerun", store="disk"),
    }


def usual_handful(work: Training) -> int:
    """Groups computed together."""
    return max(1, STEP_HANDFUL_TOKENS[work.device] // work.config.tokens)


def evaluate_plan(work: Training, plan: ExecutionPlan) -> Choice:
    """A plan with what it takes."""
    estimate, plain = estimate_step(work, plan), estimate_step(work, ExecutionPlan())
    return Choice(plan, estimate, estimate.total_flops / plain.total_flops - 1)


def largest_side(work: Training, plan: ExecutionPlan, budget_bytes: int, most: int = 4096) -> int:
    """Groups per side of the largest square image whose step fits; 0 where even one group does not.

    Args:
        work: Its `groups` do not count.
        plan: How the step is executed.
        budget_bytes: Of the device that computes.
        most: Groups per side at which to stop.
    """

    def fits(side: int) -> bool:
        return estimate_step(replace(work, groups=side * side), plan).needed_bytes <= budget_bytes

    return largest(fits, most)


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest of 1 ... most that fits, where all smaller ones do; 0 where none does."""
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def describe_plan(plan: ExecutionPlan) -> str:
    """A plan in words."""
    match plan.kind:
        case "plain":
            return "plain: everything is kept"
        case "layers":
            return "every layer is recomputed"
        case "recompute":
            kept = "matrix products" if plan.selective else "activations"
            share = f"{kept} kept of {plan.keep:.0%} of the groups, " if plan.keep else ""
            return f"recomputing: {share}{_global(plan)}"
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
    """From the fewest operations to the fewest bytes."""
    yield evaluate_plan(work, ExecutionPlan())
    yield _largest_share(work, budget_bytes)
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
    """Groups computed together: what keeps the device busy, fewer, one."""
    usual = usual_handful(work)
    return sorted({usual, max(1, usual // 4), 1}, reverse=True)


def _largest_share(work: Training, budget_bytes: int) -> Choice:
    """Recomputing, with as large a share of the groups kept as fits, or none."""
    selective = not (work.shards or work.compiled)

    def plan(share: int) -> ExecutionPlan:
        return ExecutionPlan(
            kind="recompute",
            handful=usual_handful(work),
            keep=share / SHARES,
            selective=selective,
            global_layers="selective" if selective else "checkpoint",
        )

    share = largest(lambda share: estimate_step(work, plan(share)).needed_bytes <= budget_bytes, SHARES)
    return evaluate_plan(work, plan(share))


def _too_little(work: Training, smallest: Choice, budget_bytes: int) -> str:
    parts = sorted(smallest.estimate.parts.items(), key=lambda part: -part[1])[:3]
    return (
        f"{size_text(budget_bytes)} are too little: a training step of this model of "
        f"{parameters(work.config) / 1e6:.0f} M parameters takes at least {size_text(smallest.estimate.needed_bytes)} "
        f"({', '.join(f'{name} {size_text(size)}' for name, size in parts)}); "
        "give more with --memory, or use a smaller model, batch or --size"
    )
