"""A training stays within the memory that it is allowed: its whole process, beyond Python with torch."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.processes import NEEDS_PROC
from support.small_runs import data_of, two_classes

from fitcli.memory.estimate import Training
from fitcli.memory.plan import named_plans
from fitcli.tasks.registry import TASKS, find_task

pytestmark = NEEDS_PROC

MIB = 1 << 20

CODE = """
import json, sys
import torch
from fitcli.process.resident import resident_bytes
before = resident_bytes()
torch.set_num_threads(1)
from fitcli.app import app
from fitcli.memory.plan import choose, evaluate_plan, named_plans
from fitcli.training import execution_choice

name, chosen = sys.argv.pop(1), []

def choose_named(work, budget, host=None):
    chosen.append(choose(work, budget, host) if name == "any" else evaluate_plan(work, named_plans(work)[name]))
    return chosen[-1]

execution_choice.choose = choose_named
if code := app(standalone_mode=False):
    sys.exit(code)
print(json.dumps([chosen[0].plan.kind, chosen[0].estimate.needed_bytes, resident_bytes("VmHWM") - before]))
"""

SIZES = {"classify": 512, "diffusion": 128, "autoregressive": 32, "segment": 512, "detect": 512}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (512, 512), 3)


def train(data: Path, folder: Path, task: str, execution: str, memory: int, **options: Any) -> tuple[str, int, int]:
    """Train in a process of its own; return the kind of the execution, the bytes that it needs, and those it took."""
    given = {"task": task, "preset": "debug", "size": SIZES[task], "batch-size": 2, "steps": 2, "device": "cpu"}
    words = [f"--{name}={value}" for name, value in {**given, "precision": "fp32", **options}.items()]
    arguments = [
        "train",
        str(data_of(task, data)),
        "--out",
        str(folder / "run"),
        f"--memory={memory // MIB}MiB",
        *words,
    ]
    done = subprocess.run([sys.executable, "-c", CODE, execution, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kind, needed, took = json.loads(done.stdout.splitlines()[-1])
    return kind, needed, took


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_a_tight_budget_is_kept(task: str, data: Path, tmp_path: Path) -> None:
    kind, needed, took = train(data, tmp_path, task, "any", 190 * MIB)
    assert took <= 190 * MIB
    assert took <= needed <= 190 * MIB
    assert kind != "plain" or needed - took < 48 * MIB, "the estimate is not far above"


def executions() -> list[str]:
    task = find_task("classify")
    return list(named_plans(Training(task=task, config=task.preset("debug").config, groups=1)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("task", "execution"), itertools.product(TASKS, executions()))
def test_every_execution_takes_what_is_planned(
    task: str, execution: str, precision: str, data: Path, tmp_path: Path
) -> None:
    _, needed, took = train(data, tmp_path, task, execution, 4096 * MIB, precision=precision)
    assert took <= needed


@pytest.mark.more
def test_the_smallest_budget_that_an_error_names_is_enough(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"takes at least (\d+) MiB") as caught:
        train(data, tmp_path, "classify", "any", 100 * MIB)
    least = int(str(caught.value).split("at least ")[1].split()[0]) * MIB
    _, _, took = train(data, tmp_path, "classify", "any", least)
    assert took <= least
