"""Reads the batches of a training step on all processes, and gives each process its part in the mean."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from fitcli.data.batch import Batch
from fitcli.errors import FitError
from fitcli.execution.job import largest_handful
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.task import Objective
from fitcli.training.step_results import StepResults


class BatchPart(NamedTuple):
    """The part of a process in the mean over a batch.

    Attributes:
        weight: Share of the mean, in [0, 1].
        divisor: Divisor of the mean of all processes: a number of images or patches.
    """

    weight: float
    divisor: float


class PassInput(NamedTuple):
    """What a process computes in a pass.

    Attributes:
        batch: Its images, on the host.
        part: Its part in the mean over the batch.
        plan: Execution of the pass.
    """

    batch: Batch
    part: BatchPart
    plan: ExecutionPlan


def read_batch(
    run: TrainingRun, objective: Objective, batches: Iterator[Batch], sharded: bool, results: StepResults
) -> PassInput:
    """Take the next batch, on all processes.

    Args:
        run: The run, with the execution of the pass.
        objective: Its objective.
        batches: The batches of the run.
        sharded: Whether the weights are sharded.
        results: Results of the step, which get the names of the images and the time of waiting.
    """
    began, taken = time.perf_counter(), list[Batch]()

    def read() -> dict[str, Any]:
        taken.append(batch := next(batches))
        paths = [str(path) for path in batch.paths]
        groups, weight = len(batch.groups.number), objective.weight(batch)
        shapes = len(batch.groups.real_tokens().shapes) if sharded else 0
        numbers = {"groups": groups, "shapes": shapes, "weight": weight}
        return numbers | {"paths": paths, "bad": run.bad_images.take_unsent()}

    everyone, ranks = run.world.gather_results(read), run.world.groups.size
    for each in everyone:
        run.bad_images.receive(each["bad"])
    _check_alike([each["paths"] for each in everyone], ranks)
    # Processes that share images report the same; count each image once.
    for each in everyone[::ranks]:
        results.name(each["paths"])
    results.waited += time.perf_counter() - began
    weights, own = [each["weight"] for each in everyone], run.world.rank
    if not objective.counts_own_groups:
        weights, own = weights[::ranks], run.world.data.rank
    divisor = sum(weights)
    # A batch in which nothing counts has no part in the step.
    part = BatchPart(float(weights[own] / divisor) if divisor else 0.0, float(divisor))
    groups, shapes = (max(each[name] for each in everyone) for name in ("groups", "shapes"))
    return PassInput(taken[0], part, _with_equal_calls(run, groups, shapes) if sharded else run.plan)


def _with_equal_calls(run: TrainingRun, most: int, shapes: int) -> ExecutionPlan:
    """Make all processes call a sharded layer equally often.

    The largest part of the batch has `most` groups, and a part has at most `shapes` shapes of groups.
    """
    plan = run.plan
    handful = min(plan.handful, largest_handful(run.config.model)) if plan.kind == "recompute" else most
    return replace(plan, calls=-(-most // handful), shapes=shapes)


def _check_alike(paths: Sequence[list[str]], ranks: int) -> None:
    """Check that processes that share images have read the same ones.

    Args:
        paths: Images of the batch of each process.
        ranks: Number of processes that share an image.

    Raises:
        FitError: They differ: some of the processes could not read their part of an image.
    """
    for first in range(0, len(paths), ranks):
        columns = zip(*paths[first : first + ranks], strict=True)
        if strange := next((column for column in columns if len(set(column)) > 1), None):
            raise FitError(
                f"{min(strange, key=strange.count)} replaces an image of which only a part can be read, which "
                "--group-parallel does not support; leave that image out of the data set"
            )
