"""The tables that fit ships: those of every preset, and equal to what the code of today makes."""

from __future__ import annotations

import zipfile
from typing import Any

import numpy as np
import pytest

from fitcli.memory.dry_run import DryPass, DryStep
from fitcli.memory.sizes import actual_sizes
from fitcli.memory.table_store import SHIPPED, find_table
from fitcli.profiling.shipped_tables import shipped_runs
from fitcli.tasks.registry import TASKS

RUNS: list[Any] = list(shipped_runs())


def is_small(run: Any) -> bool:
    return isinstance(run, DryStep | DryPass) and run.config.token_width <= 64


def sample() -> list[Any]:
    """A step and a pass of each task; the slow test has all."""
    runs = []
    for number, task in enumerate(TASKS):
        steps = [run for run in RUNS if isinstance(run, DryStep) and run.task.name == task and is_small(run)]
        runs.append(steps[(7 * number + 4) % len(steps)])
    return [*runs, next(run for run in RUNS if isinstance(run, DryPass) and run.streamed and is_small(run))]


def test_every_table_is_shipped() -> None:
    with zipfile.ZipFile(SHIPPED) as archive:
        assert sorted(archive.namelist()) == sorted(f"{run.key}.json" for run in RUNS)
    assert {run.task.name for run in RUNS if isinstance(run, DryStep)} == set(TASKS)


def check(run: Any) -> None:
    made, shipped = run.table(), find_table(run)
    for images, groups, handful in ((1, 100, 8), (3, 5000, 32)):
        sizes = actual_sizes(1 if isinstance(run, DryPass) else images, groups, handful)
        assert made.operations(sizes) == shipped.operations(sizes)
        for without in ((), ("stored tokens", "workspace")):
            one, other = made.peak(sizes, without), shipped.peak(sizes, without)
            assert np.isclose(sum(one.parts.values()), sum(other.parts.values()), rtol=0.005)
            assert one.stored_bytes == other.stored_bytes


@pytest.mark.walk(1)
@pytest.mark.parametrize("run", sample(), ids=lambda run: f"{type(run).__name__}-{run.task.name}")
def test_tables_are_those_of_the_code(run: Any) -> None:
    check(run)


@pytest.mark.slow
@pytest.mark.parametrize("run", [run for run in RUNS if is_small(run)], ids=lambda run: run.key[:12])
def test_all_small_tables_are_those_of_the_code(run: Any) -> None:
    check(run)
