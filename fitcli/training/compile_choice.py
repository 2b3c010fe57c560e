"""Decides whether a run on a CUDA device compiles its layers, if the user gives neither --compile nor --no-compile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fitcli.device.compilation import check_compiler
from fitcli.device.runtime import Precision
from fitcli.errors import DeviceError, FitError
from fitcli.memory.estimate import estimate_step
from fitcli.tasks.context import TrainingRun

COMPILE_SECONDS = 62.0
"""Seconds that the first calls of compiled layers take: the longest pass of docs/performance.md (31 s), for training
and again for validation."""

SAVED = 0.1
"""Fraction of the time of an eager step that compiled layers save on a CUDA device. An assumption, not a measurement:
they fuse norms, casts and activation functions, which move memory and compute little."""

RATES: dict[Precision, float] = {"fp32": 30e12, "bf16": 150e12}
"""Assumed operations per second of a training step on a CUDA device. A faster device has less to save."""

MARGIN = 2.0
"""Compiled layers have to save this many times the seconds that they cost."""

NEVER, ALWAYS = "--no-compile: never", "--compile: always"
"""Hints in the line that says what is done."""


def compile_if_it_pays(
    run: TrainingRun, steps: int, planned: Callable[[TrainingRun], TrainingRun] | None
) -> TrainingRun:
    """Return a run that compiles its layers if that saves more time than it takes. Collective on a CUDA device.

    The time of a step is its operations over an assumed rate. A plan that keeps selected operations cannot be compiled:
    then the operations of the plan that takes its place count, and often cost more than compiled layers save.

    Args:
        run: A run with an execution, whose layers are not compiled.
        steps: Number of steps that are left.
        planned: Returns a run with an execution for its runtime; None to keep the execution.

    Returns:
        The run, with a line on the choice on a CUDA device. On other devices, the run as it is.
    """
    if run.runtime.device.type != "cuda" or run.work is None:
        return run
    if run.shard or run.world.groups.size > 1:
        return _said(run, f"not compiled with --shard or --group-parallel ({ALWAYS})")
    compiled = _compiled(run, planned)
    if compiled is None:
        return _said(run, "not compiled: the execution keeps selected operations")
    # Of several processes, all decide alike.
    passes = min(run.world.gather(steps)) * run.settings.accumulate
    eager_seconds = passes * pass_seconds(run)
    saved = eager_seconds - (1 - SAVED) * passes * pass_seconds(compiled)
    cost = f"takes about {COMPILE_SECONDS:.0f} s and saves about"
    if saved < MARGIN * COMPILE_SECONDS:
        return _said(run, f"not compiled: it {cost} {max(0, saved):.0f} s of {eager_seconds:.0f} s ({ALWAYS})")
    faults = [fault for fault in run.world.gather_results(lambda: _compiler_fault(run)) if fault]
    if faults:
        return _said(run, f"not compiled: {faults[0]}")
    return _said(compiled, f"compiled: it {cost} {saved:.0f} s of {eager_seconds:.0f} s ({NEVER})")


def _compiled(run: TrainingRun, planned: Callable[[TrainingRun], TrainingRun] | None) -> TrainingRun | None:
    """Return a run with compiled layers and an execution for them; None if there is none."""
    compiled = replace(run, runtime=replace(run.runtime, compiled=True))
    if planned is None:
        assert run.work is not None
        return replace(compiled, work=replace(run.work, compiled=True)) if run.plan.compilable else None
    try:
        return planned(compiled)
    except FitError:
        return None


def pass_seconds(run: TrainingRun) -> float:
    """Return the assumed seconds of the largest pass of a run over a batch, if its layers are not compiled."""
    assert run.work is not None
    return estimate_step(run.work, run.plan).total_flops / RATES[run.work.precision]


def _compiler_fault(run: TrainingRun) -> str:
    """Return why PyTorch cannot compile on the device of this process; empty if it can."""
    try:
        check_compiler(run.runtime.device)
    except DeviceError as error:
        return str(error)
    return ""


def _said(run: TrainingRun, text: str) -> TrainingRun:
    return replace(run, understood=(*run.understood, f"layers: {text}"))
