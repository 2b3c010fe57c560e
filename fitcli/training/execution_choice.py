"""Chooses the execution of a training run, and the one it falls back to when memory runs out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fitcli.data.place import Layout
from fitcli.device.host_memory import bytes_beyond_torch
from fitcli.errors import CheckpointError, FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.files.publish import write_text
from fitcli.memory.budget import shown_bytes, size_text
from fitcli.memory.estimate import FLOAT, LOADED, Training, estimate_step, parameter_count
from fitcli.memory.machine import HOST_FRACTION, available_bytes, default_budget, free_bytes, host_budget, plan_within
from fitcli.memory.plan import Choice, StepTooLarge, cheaper_choice, choose, evaluate_plan
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import find_task
from fitcli.training.warm_up import warm_up

PLAN = "training/plan.json"
"""File of a run folder that keeps the execution."""

MOST_OVER_FREE = 3
"""A resumed run begins if its steps take at most this many times the memory that is free now."""


ROUNDING, MARGIN = 8 << 20, 2 << 20
"""Bytes to whose multiple the memory of a process is rounded up, and by which that of two starts differs at most."""


def largest_step(run: TrainingRun, sizes: Iterable[tuple[int, int]]) -> Training:
    """Return the largest step of one process: every image of its batch is as large as the largest of the data set.

    Args:
        run: The run.
        sizes: (height, width) of its images in pixels.
    """
    settings, reading = run.settings, find_task(run.config.task).objective(run).reading
    longest = reading.rules.longest_side
    shown = ((longest(height), longest(width)) for height, width in sizes)
    work = Training(
        task=find_task(run.config.task),
        config=run.config.model,
        groups=max((_groups(reading.layout, size) for size in shown), default=1),
        images=settings.batch_size // run.world.data.size,
        precision=run.runtime.precision,
        device=run.runtime.device.type,
        ema=bool(settings.ema_decay),
        value_bytes=np.dtype(run.config.preprocessing.dtype).itemsize,
        shards=run.world.data.size if run.shard else 0,
        compiled=run.runtime.compiled,
        ranks=run.world.groups.size,
    )
    ahead = run.images_ahead(work)
    return replace(work, batches=1 + -(-ahead // work.images), reading=min(run.reader_threads, ahead))


def _groups(layout: Layout, size: tuple[int, int]) -> int:
    """Return the number of groups of an image of (height, width) pixels."""
    side = layout.patch * layout.group
    rows, columns = (length // side if layout.order is not None else -(-length // side) for length in size)
    return max(1, rows * columns)


def choose_plan(run: TrainingRun, work: Training, memory_bytes: int | None) -> Choice:
    """Choose the first execution that fits into memory, in the order of `memory.plan.choose`.

    Args:
        run: The run.
        work: Its largest step.
        memory_bytes: Memory that it may use; None for a fraction of what is free.

    Raises:
        StepTooLarge: No execution fits.
    """
    runtime, sharing = run.runtime, run.world.local_size
    host = host_budget(runtime)
    host = None if host is None else host // sharing
    # Each process has its own CUDA device; all processes of a machine share the memory of the host.
    here = 1 if runtime.device.type == "cuda" else sharing
    if memory_bytes is None:
        return plan_within(runtime, lambda budget: choose(work, budget // here, host))
    return choose(work, memory_bytes, host)


def fall_back(run: TrainingRun) -> Choice | None:
    """Return a smaller execution for a run that ran out of memory; None if there is none."""
    return None if run.work is None else cheaper_choice(run.work, evaluate_plan(run.work, run.plan))


def has_room_for_copy(run: TrainingRun) -> bool:
    """Return whether host memory now has room for a copy of model, moments and average beside the steps of a run.

    Without room, the saver writes the tensors themselves, and the steps wait for it.
    """
    copies = 3 + bool(run.settings.ema_decay)
    copy_bytes = copies * FLOAT * parameter_count(run.config.model)
    if run.memory_bytes is not None and run.work is not None and run.runtime.device.type == "cpu":
        return estimate_step(run.work, run.plan).needed_bytes + copy_bytes <= run.memory_bytes
    return copy_bytes <= HOST_FRACTION * available_bytes()


def has_room_ahead(run: TrainingRun) -> bool:
    """Return whether a CUDA device has room for the pixels of the next batch beside the largest step of a run."""
    device, work = run.runtime.device, run.work
    if device.type != "cuda" or not run.brings_pixels:
        return False
    if work is None:
        return True
    needed = estimate_step(work, run.plan).needed_bytes + work.pixel_bytes
    weights = FLOAT * parameter_count(work.config) * (1 + work.ema) // max(1, work.shards)
    return needed <= (default_budget(run.runtime, weights) if run.memory_bytes is None else run.memory_bytes)


def save_plan(folder: Path, plan: ExecutionPlan) -> None:
    """Save the execution of a run, so that a resumed run continues in the same way, to the bit."""
    write_text(folder / PLAN, json.dumps(dataclasses.asdict(plan), indent=2) + "\n")


def load_plan(folder: Path) -> ExecutionPlan:
    """Load the execution of a run; the plain one if the run has no such file.

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


def with_plan(run: TrainingRun, sizes: Iterable[tuple[int, int]], memory_bytes: int | None) -> TrainingRun:
    """Return a run with an execution that fits into memory. Collective.

    Args:
        run: The run.
        sizes: (height, width) of its images in pixels.
        memory_bytes: Memory that it may use; None for a fraction of what is free.

    Raises:
        FitError: No execution fits.
    """
    run, sizes = replace(run, memory_bytes=memory_bytes), list(sizes)
    work = largest_step(run, sizes)
    if memory_bytes is not None and work.device == "cpu":
        warm_up(run.runtime, run.settings)
        work = replace(work, loaded_bytes=_loaded_bytes())

    def choose_own() -> ExecutionPlan:
        try:
            return choose_plan(run, work, memory_bytes).plan
        except StepTooLarge as error:
            if memory_bytes is None:
                raise
            raise FitError(f"--memory: {_with_enough(run, sizes, memory_bytes, error)}") from None

    plans = run.world.gather_results(lambda: dataclasses.asdict(choose_own()))
    # All processes take that of the first: one execution per run, which `plan.json` keeps for a resumed run.
    return replace(run, plan=ExecutionPlan(**plans[0]), work=work)


def _loaded_bytes(margin: int = 0) -> int:
    """Return what this process has before the model is built and after all libraries are loaded.

    It is rounded up, so that a second start under the same conditions finds the same. With a margin, a second start
    finds no more.
    """
    loaded = bytes_beyond_torch()
    return LOADED if loaded is None else -(-(loaded + margin) // ROUNDING) * ROUNDING


def _with_enough(
    run: TrainingRun, sizes: list[tuple[int, int]], memory_bytes: int, error: StepTooLarge
) -> StepTooLarge:
    """Return an error that names memory with which a second start has an execution.

    With more memory, more images are read ahead. So what a step needs depends on what is allowed.
    """
    loaded = _loaded_bytes(MARGIN) if run.runtime.device.type == "cpu" else LOADED
    while True:
        enough = shown_bytes(error.needed_bytes)
        work = replace(largest_step(replace(run, memory_bytes=enough), sizes), loaded_bytes=loaded)
        try:
            choose_plan(run, work, enough)
        except StepTooLarge as larger:
            error = larger
        else:
            return StepTooLarge(work, memory_bytes, enough, error.parts)


def with_saved_plan(run: TrainingRun, sizes: Iterable[tuple[int, int]]) -> TrainingRun:
    """Return a resumed run with its earlier execution, or with a new one if that cannot be sharded or compiled.

    Raises:
        CheckpointError: The file with the earlier execution is damaged, or a step takes far more memory than is free.
    """
    sizes = list(sizes)
    plan = load_plan(run.folder)
    if (run.shard and not plan.shardable) or (run.runtime.compiled and not plan.compilable):
        return with_plan(run, sizes, None)
    work = largest_step(run, sizes)
    needed, free = estimate_step(work, plan).needed_bytes, free_bytes(run.runtime)
    # Not `choose`: other programs may hold memory for a while, and the execution must stay the same.
    if needed > MOST_OVER_FREE * free:
        raise CheckpointError(
            f"{run.folder}: with training/settings.json as it is, a step takes {size_text(needed)}, but "
            f"{size_text(free)} are free; give --memory, or continue on a larger machine"
        )
    return replace(run, plan=plan, work=work)
