"""Dry runs: keys that tell different steps apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.dry_run import DryPass, DryStep
from fitcli.tasks.registry import find_task

TASK = find_task("classify")
STEP = DryStep(task=TASK, config=TASK.preset("debug").config, plan=ExecutionPlan(), precision="fp32")
PASS = DryPass(task=TASK.passes, config=STEP.config, precision="fp32", streamed=True)


def test_different_steps_have_different_keys() -> None:
    recompute = ExecutionPlan(kind="recompute")
    runs: list[Any] = [
        STEP, PASS, *(replace(STEP, plan=replace(recompute, keep=keep)) for keep in (0, 0.5, 1)),
        replace(STEP, plan=replace(recompute, keep=1, selective=True)),
        replace(STEP, plan=replace(recompute, global_layers="attention")), replace(STEP, ranks=2),
        replace(STEP, precision="bf16"), replace(STEP, config=replace(STEP.config, channels=1)),
        replace(PASS, streamed=False), replace(PASS, in_pieces=True), replace(PASS, keep_reads=True),
    ]  # fmt: skip
    assert len({run.key for run in runs}) == len(runs)
    assert replace(STEP, plan=replace(STEP.plan, handful=3)).key == STEP.key, "tables hold for any handful"
