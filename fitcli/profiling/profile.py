"""Computes the rows of `fit profile-memory`: the cost of each execution at each size, and whether it fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.budget import largest, size_text
from fitcli.memory.estimate import Estimate, Training, estimate_step, parameter_count
from fitcli.memory.plan import evaluate_plan, largest_side, named_plans
from fitcli.profiling.inference import Inference, estimate_pass, pass_executions
from fitcli.profiling.measure import Measurement, measure_pass, measure_step
from fitcli.profiling.rows import Mode, Row
from fitcli.profiling.subject import Conditions, Subject
from fitcli.tasks.registry import find_task

MEASURED_FLOPS = {"cpu": 5e12, "cuda": 1e16, "mps": 1e14}
"""Largest number of operations of a step that `--method auto` measures, by kind of device. It takes some seconds."""

MOST_GROUPS = 2048
"""Groups per side of the largest image that `largest_sizes` returns."""


def profile(subject: Subject, conditions: Conditions, modes: list[Mode], sizes: list[int]) -> Iterator[Row]:
    """Yield the rows, each as soon as it is computed.

    Raises:
        FitError: There is no device to measure on, or a measurement failed other than by running out of memory.
    """
    if conditions.method == "measure" and conditions.runtime is None:
        raise FitError(f"no {conditions.device} device here to measure on; use --method estimate or --device cpu")
    for mode in modes:
        for res in sizes:
            yield from (_train if mode == "train" else _infer)(subject, conditions, res)


def execution_names(subject: Subject, conditions: Conditions, mode: Mode) -> list[str]:
    """Return the names of the executions of a mode."""
    if mode == "infer":
        return [name for name, _ in pass_executions(conditions.device)]
    return list(named_plans(training_step(subject, conditions, 1)))


def training_step(subject: Subject, conditions: Conditions, side: int) -> Training:
    """Return a training step over square images of `side` x `side` groups."""
    return Training(
        task=find_task(subject.task),
        config=subject.config,
        groups=side**2,
        images=conditions.images,
        precision=conditions.precision,
        device=conditions.device,
        ema=subject.ema,
        ranks=conditions.ranks,
    )


def largest_sizes(subject: Subject, conditions: Conditions, modes: list[Mode]) -> dict[tuple[Mode, str], int]:
    """Return the side in pixels of the largest square image that fits, by mode and execution."""
    budget, sides = conditions.budget_bytes, {}
    if "train" in modes:
        work = training_step(subject, conditions, 1)
        for name, plan in named_plans(work).items():
            sides["train", name] = largest_side(work, plan, budget, MOST_GROUPS) * subject.group_pixels
    if "infer" in modes:
        for name, store in pass_executions(conditions.device):

            def fits(side: int, store: Any = store) -> bool:
                return estimate_pass(_inference(subject, conditions, side), store).needed_bytes <= budget

            sides["infer", name] = largest(fits, MOST_GROUPS) * subject.group_pixels
    return sides  # type: ignore[return-value]


def smallest_need(subject: Subject, conditions: Conditions, modes: list[Mode]) -> int:
    """Return the bytes that the smallest image needs in the smallest execution."""
    needed = []
    if "train" in modes:
        work = training_step(subject, conditions, 1)
        needed += [evaluate_plan(work, plan).estimate.needed_bytes for plan in named_plans(work).values()]
    if "infer" in modes:
        inference = _inference(subject, conditions, 1)
        needed += [estimate_pass(inference, store).needed_bytes for _, store in pass_executions(conditions.device)]
    return min(needed)


def _inference(subject: Subject, conditions: Conditions, side: int) -> Inference:
    return Inference(
        task=find_task(subject.task).passes,
        config=subject.config,
        groups=side**2,
        precision=conditions.precision,
        device=conditions.device,
        budget_bytes=conditions.budget_bytes,
    )


def _train(subject: Subject, conditions: Conditions, res: int) -> Iterator[Row]:
    side = subject.side(res, training=True)
    work = training_step(subject, conditions, side)
    for name, plan in named_plans(work).items():
        choice = evaluate_plan(work, plan)
        runtime = where_to_measure(conditions, choice.estimate)
        # The measured step keeps no moving average and reads no batch ahead.
        bare = replace(work, ema=False, batches=1)
        measured = None if runtime is None else measure_step(subject.task, bare, plan, (side, side), runtime)
        row = _row(conditions, res, side, "train", name, choice.estimate, choice.extra, measured, runtime)
        yield row if measured is None else replace(row, like=_estimate_like(bare, plan, measured))


def _estimate_like(bare: Training, plan: ExecutionPlan, measured: Measurement) -> Estimate:
    """Return the estimate of what was measured: on a CPU, beside the libraries of the measuring process."""
    work = replace(bare, loaded_bytes=measured.loaded_bytes) if bare.device == "cpu" else bare
    return estimate_step(work, plan)


def _infer(subject: Subject, conditions: Conditions, res: int) -> Iterator[Row]:
    side = subject.side(res, training=False)
    inference = _inference(subject, conditions, side)
    for name, store in pass_executions(conditions.device):
        estimate = estimate_pass(inference, store)
        runtime = where_to_measure(conditions, estimate)
        measured = None if runtime is None else measure_pass(subject.task, inference, store, (side, side), runtime)
        yield _row(conditions, res, side, "infer", name, estimate, 0.0, measured, runtime)


def where_to_measure(conditions: Conditions, estimate: Estimate) -> Runtime | None:
    """Return the runtime to measure a row on; None to estimate it."""
    if conditions.ranks > 1 or conditions.method == "estimate" or estimate.needed_bytes > conditions.budget_bytes:
        return None
    if conditions.method == "auto" and estimate.total_flops > MEASURED_FLOPS[conditions.device]:
        return None
    return conditions.runtime


def _row(
    conditions: Conditions, res: int, side: int, mode: Mode, name: str, estimate: Estimate, extra: float,
    measured: Measurement | None, runtime: Runtime | None,
) -> Row:  # fmt: skip
    """Return a row. If the measurement ran out of memory, it has the estimate and does not fit."""
    ran_out = runtime is not None and measured is None
    return Row(
        res=res, groups=side, mode=mode, execution=name, estimate=estimate, extra=extra, measurement=measured,
        fits=not ran_out and estimate.needed_bytes <= conditions.budget_bytes,
    )  # fmt: skip


def title(subject: Subject, conditions: Conditions) -> str:
    """Return one line about the model and the conditions, as the title of the table."""
    batch = f", {conditions.images} images in a batch" if conditions.images > 1 else ""
    device = {"cuda": "a GPU", "cpu": "a CPU", "mps": "mps"}[conditions.device]
    shared = f" that shares each image with {conditions.ranks - 1} more" if conditions.ranks > 1 else ""
    return (
        f"{subject.name} ({subject.task}): {parameter_count(subject.config) / 1e6:.1f} M parameters, "
        f"{conditions.precision}{batch}, {device} with {size_text(conditions.budget_bytes)}{shared}"
    )
