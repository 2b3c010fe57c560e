"""Which execution a run is given, and which it falls back to where memory runs out all the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fitcli.data.loader import AHEAD
from fitcli.data.place import Layout
from fitcli.errors import CheckpointError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.files.publish import write_text
from fitcli.memory.estimate import Training, estimate_step, parameters
from fitcli.memory.machine import SHARE, available_bytes, default_budget, free_bytes, host_budget
from fitcli.memory.paper.operations import FLOAT
from fitcli.memory.plan import Choice, cheaper, choose, evaluate
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task

PLAN = "training/plan.json"


def step_of(run: TrainingRun, sizes: Iterable[tuple[int, int]]) -> Training:
    """The largest step of one process: every image of its batch as large as the largest of the data set.

    Args:
        run: Its settings and model count.
        sizes: (height, width) of its images.
    """
    settings, reading = run.settings, find_task(run.config.task).objective(run).reading
    window, margin = reading.rules.size, reading.rules.shift_canvas
    shown = ((min(height, window or height) + margin, min(width, window or width) + margin) for height, width in sizes)
    return Training(
        config=run.config.model,
        groups=max((_groups(reading.layout, size) for size in shown), default=1),
        images=settings.batch_size // run.world.data.size,
        precision=run.runtime.precision,
        device=run.runtime.device.type,
        ema=bool(settings.ema_decay),
        batches=1 + AHEAD,
        shards=run.world.data.size if run.shard else 0,
        compiled=run.runtime.compiled,
        ranks=run.world.groups.size,
    )


def _groups(layout: Layout, size: tuple[int, int]) -> int:
    side = layout.patch * layout.group
    rows, columns = (length // side if layout.order is not None else -(-length // side) for length in size)
    return max(1, rows * columns)


def choose_plan(run: TrainingRun, work: Training, memory_bytes: int | None) -> Choice:
    """The execution with the fewest operations that fits.

    Args:
        run: What is to be trained, where.
        work: Its largest step.
        memory_bytes: May be used; None for a share of what is free.

    Raises:
        FitError: None fits.
    """
    runtime, sharing = run.runtime, run.world.local_size
    host = host_budget(runtime)
    host = None if host is None else host // sharing
    # Each process has a device of its own, and what the host has in common with the others.
    here = 1 if runtime.device.type == "cuda" else sharing
    if memory_bytes is not None:
        try:
            return choose(work, memory_bytes, host)
        except FitError as error:
            raise FitError(f"--memory: {error}") from None
    try:
        return choose(work, default_budget(runtime) // here, host)
    except FitError:
        # Nobody asked for the polite share.
        return choose(work, free_bytes(runtime) // here, host)


def fall_back(run: TrainingRun) -> Choice | None:
    """What to go on with where the plan of a run has run out of memory; None where there is nothing smaller."""
    return None if run.work is None else cheaper(run.work, evaluate(run.work, run.plan))


def has_room_for_copy(run: TrainingRun) -> bool:
    """Whether host memory has room for a copy of model, moments and average beside the steps of a run, right now.

    Where it has not, a state is written from where it is, and the steps wait.
    """
    copies = 3 + bool(run.settings.ema_decay)
    copy_bytes = copies * FLOAT * parameters(run.config.model)
    if run.memory_bytes is not None and run.work is not None and run.runtime.device.type == "cpu":
        return estimate_step(run.work, run.plan).needed_bytes + copy_bytes <= run.memory_bytes
    return copy_bytes <= SHARE * available_bytes()


def has_room_ahead(run: TrainingRun) -> bool:
    """Whether the pixels of the next batch may wait on a CUDA device beside the largest step of a run."""
    device, work = run.runtime.device, run.work
    if device.type != "cuda" or not run.brings_pixels:
        return False
    if work is None:
        return True
    budget = free_bytes(run.runtime) if run.memory_bytes is None else run.memory_bytes
    estimate = estimate_step(work, run.plan)
    return estimate.needed_bytes + estimate.parts["pixels"] <= budget


def save_plan(folder: Path, plan: ExecutionPlan) -> None:
    """Remember how steps are executed: a run that is resumed goes on in the same way, to the bit."""
    write_text(folder / PLAN, json.dumps(dataclasses.asdict(plan), indent=2) + "\n")


def load_plan(folder: Path) -> ExecutionPlan:
    """How the steps of a run were executed; plainly, where nothing says otherwise.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / PLAN
    if not path.is_file():
        return ExecutionPlan()
    try:
        return ExecutionPlan(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); remove it, and give --memory") from None


def planned(run: TrainingRun, sizes: Iterable[tuple[int, int]], memory_bytes: int | None) -> TrainingRun:
    """A run with its execution.

    Args:
        run: What is to be trained, where.
        sizes: (height, width) of its images.
        memory_bytes: May be used; None for a share of what is free.

    Raises:
        FitError: None fits.
    """
    work = step_of(run, sizes)
    plans = run.world.gather_results(lambda: dataclasses.asdict(choose_plan(run, work, memory_bytes).plan))
    # The same for all processes: a run that is resumed goes on as it was, to the bit.
    return replace(run, plan=ExecutionPlan(**plans[0]), work=work, memory_bytes=memory_bytes)


def continued(run: TrainingRun, sizes: Iterable[tuple[int, int]]) -> TrainingRun:
    """A run that is resumed, executed as before.

    Raises:
        CheckpointError: That is not to be found out.
    """
    sizes = list(sizes)
    plan = load_plan(run.folder)
    if (run.shard and not plan.shardable) or (run.runtime.compiled and not plan.compilable):
        return planned(run, sizes, None)
    return replace(run, plan=plan, work=step_of(run, sizes))
