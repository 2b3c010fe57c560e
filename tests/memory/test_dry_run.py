"""Dry runs: models that cannot run without memory, and keys that tell different steps apart."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.dry_run import DryPass, DryStep, dry_model, part_slices
from fitcli.memory.sizes import IMAGE_GROUPS, IMAGES, dry_sizes
from fitcli.tasks.registry import TASKS, find_task

TASK = find_task("classify")
STEP = DryStep(task=TASK, config=TASK.preset("debug").config, plan=ExecutionPlan(), precision="fp32")
PASS = DryPass(task=TASK.passes, config=STEP.config, precision="fp32", streamed=True)


class Masked(nn.Module):
    """An operation whose result has a shape that depends on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x[x > 0]


class Asking(nn.Module):
    """A step that asks for a value."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > 0 else x


@pytest.mark.parametrize("model", [Masked(), Asking()])
def test_what_cannot_run_without_memory_is_one_line(model: nn.Module) -> None:
    text = r"^the memory of this model cannot be estimated \(.*aten.*\); measure it with "
    with pytest.raises(FitError, match=text), dry_model(model, "fp32", dry_sizes(IMAGES, handfuls=False)):
        model(torch.empty(4))


def test_parts_are_slices_of_all_groups() -> None:
    for some_kept in (False, True):
        parts = part_slices(dry_sizes(IMAGES, True, some_kept))
        assert parts[0].start == 0
        assert parts[-1].stop == IMAGES * IMAGE_GROUPS
        assert all(one.stop == other.start for one, other in pairwise(parts))
    assert part_slices(dry_sizes(1, handfuls=False)) == [slice(0, IMAGE_GROUPS)]


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


@pytest.mark.parametrize("task", TASKS)
def test_the_number_of_classes_needs_no_new_table(task: str) -> None:
    chosen = find_task(task)
    for config in chosen.typical_configs("tiny"):
        assert chosen.typical_config(config) == config
