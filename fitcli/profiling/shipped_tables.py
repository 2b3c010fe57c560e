"""The tables of memory that fit ships: those of the presets of every task.

python -m fitcli.profiling.shipped_tables     # makes them again; needs timm, some 20 minutes of a CPU
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fitcli import console
from fitcli.device.runtime import Precision
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.dry_run import DryPass, DryRun, DryStep
from fitcli.memory.estimate import Training
from fitcli.memory.plan import GLOBAL_LAYERS
from fitcli.memory.table_store import SHIPPED, make
from fitcli.profiling.peer_estimate import dry_peer
from fitcli.tasks.registry import DEFAULT_TASK, TASKS, find_task
from models.checks import ConfigError
from models.presets import PRESETS

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
"""The table of bf16 also holds for fp16: its values are as large."""


def shipped_runs() -> Iterator[DryRun]:
    """Yield the steps and passes whose tables fit ships: every task, preset, precision and execution."""
    for precision in PRECISIONS:
        for name in TASKS:
            task = find_task(name)
            for config in _configs(task):
                for plan in _plans():
                    yield DryStep(task=task, config=config, plan=plan, precision=precision)
                one = DryPass(task=task.passes, config=config, precision=precision, streamed=False)
                yield one
                for pieces in (False, True):
                    yield replace(one, streamed=True, in_pieces=pieces)
                    if task.passes.returns_reads:
                        yield replace(one, streamed=True, in_pieces=pieces, keep_reads=True)
        yield from _peers(precision)


def _peers(precision: Precision) -> Iterator[DryRun]:
    """Yield the steps of the peers, and those of the ViT that goes with each preset of a classifier."""
    task = find_task(DEFAULT_TASK)
    works = [Training(task=task, config=config, groups=1, precision=precision) for config in _configs(task)]
    for checkpointed in (False, True):
        yield dry_peer("swin", works[0], checkpointed)
        yield from (dry_peer("vit", work, checkpointed) for work in works)


def _configs(task: Any) -> Iterator[Any]:
    """Yield the configs of all presets that a task has, without and with classes where a task knows both."""
    for preset in PRESETS:
        with suppress(ConfigError):
            yield from task.typical_configs(preset)


def _plans() -> Iterator[ExecutionPlan]:
    """Yield the executions that `fit train` tries on one device."""
    yield ExecutionPlan()
    yield ExecutionPlan(kind="layers")
    for keep in (0.5, 1.0):
        yield ExecutionPlan(kind="recompute", keep=keep, selective=True, global_layers="selective")
    for layers in GLOBAL_LAYERS:
        yield ExecutionPlan(kind="recompute", global_layers=layers)
        yield ExecutionPlan(kind="stream", global_layers=layers)
    yield ExecutionPlan(kind="stream", global_layers="rerun")


def main() -> None:
    """Make the tables again."""
    runs = list(shipped_runs())
    with console.progress("making tables") as advance:
        for _ in make(SHIPPED, runs):
            advance(1 / len(runs))
    console.data(f"{len(runs)} tables, {SHIPPED.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
