"""Training by several processes equals training by one: the same weights, averages, losses and scores, in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.float64_runs import CASES, CPU, RECOMPUTE, assert_close_runs, metrics, train_here
from support.pictures import save
from support.processes import run_ranks

from fitcli.distributed.process_group import processes
from fitcli.distributed.world import ALONE, World
from fitcli.errors import FitError
from fitcli.tasks.registry import train_settings
from fitcli.training.prepare import prepare
from fitcli.training.start_options import StartOptions

SIZES = ((24, 24), (40, 33), (30, 64), (17, 50))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images of one class and six of another, of four sizes."""
    folder = tmp_path_factory.mktemp("data")
    for label, count in (("many", 9), ("few", 6)):
        for number in range(count):
            pixels = np.random.default_rng([count, number]).integers(0, 256, (*SIZES[number % 4], 3), np.uint8)
            save(folder / label / f"{number}.png", pixels)
    return folder


def train_on_ranks(data: Path, runs: list[dict[str, Any]]) -> None:
    """Train several runs one after the other, each by all processes of the job."""
    with processes("cpu") as world:
        for run in runs:
            train_here(data, world=world, **run)


def test_two_processes_are_one(data: Path, tmp_path: Path) -> None:
    settings = {**CASES["classify"], "steps": 2, "accumulate": 1}
    run_ranks(2, train_on_ranks, data, [{"folder": tmp_path / "two", **settings}])
    train_here(data, tmp_path / "one", **settings)
    assert_close_runs(tmp_path / "two", tmp_path / "one")


@pytest.fixture(scope="module")
def shared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two processes: each task, with and without sharding, plain and recomputing."""
    folder = tmp_path_factory.mktemp("shared")
    runs = [
        {"folder": folder / f"{task} {name}", **settings, "shard": name != "plain", "plan": plan}
        for task, settings in CASES.items()
        for name, plan in (("plain", None), ("sharded", {}), ("sharded recompute", RECOMPUTE))
    ]
    runs += [
        {"folder": folder / f"{task} stream", **settings, "plan": {"kind": "stream", "handful": 2}}
        for task, settings in CASES.items()
    ]
    run_ranks(2, train_on_ranks, data, runs)
    return folder


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    for task, settings in CASES.items():
        train_here(data, folder / task, **settings)
    return folder


@pytest.mark.distributed
@pytest.mark.parametrize("execution", ["plain", "stream", "sharded", "sharded recompute"])
@pytest.mark.parametrize("task", CASES)
def test_weights_averages_and_metrics_of_two_processes(shared: Path, alone: Path, task: str, execution: str) -> None:
    assert_close_runs(shared / f"{task} {execution}", alone / task)


@pytest.mark.distributed
@pytest.mark.parametrize("count", [1, 3])
def test_a_sharded_run_goes_on_with_any_number_of_processes(data: Path, tmp_path: Path, count: int) -> None:
    """The run is stopped by a signal to rank 1 alone: all processes stop after the same step."""
    settings = {**CASES["classify"], "batch_size": 6, "steps": 4}
    train_here(data, tmp_path / "whole", **settings)
    stopped = {"folder": tmp_path / "run", "shard": True, "stop": 2, "stopper": 1, **settings}
    run_ranks(2, train_on_ranks, data, [stopped])
    assert metrics(tmp_path / "run")[-1]["step"] == 2
    again = {"folder": tmp_path / "run", "resume": True, **settings}
    if count == 1:
        train_here(data, **again)
    else:
        run_ranks(count, train_on_ranks, data, [{**again, "shard": True}])
    assert_close_runs(tmp_path / "run", tmp_path / "whole")


@pytest.mark.distributed
def test_the_time_of_one_process_is_that_of_all(data: Path, tmp_path: Path) -> None:
    settings = CASES["classify"]
    run = {"folder": tmp_path / "run", **settings}
    run_ranks(2, train_on_ranks, data, [{**run, "late": True, "stopper": 1}, {**run, "resume": True}])
    run_ranks(2, train_on_ranks, data, [{"folder": tmp_path / "whole", **settings}])
    assert_close_runs(tmp_path / "run", tmp_path / "whole")


def test_what_cannot_be_shared(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "gather", lambda world, value: [value] * world.size)
    launch = StartOptions(data=data, folder=tmp_path / "run", runtime=CPU)
    three = replace(ALONE, size=3, data=replace(ALONE.data, size=3))
    with pytest.raises(FitError, match=r"--batch-size 4: 3 processes .* use a multiple of 3"):
        prepare(train_settings(batch_size=4), replace(launch, world=three))
    with pytest.raises(FitError, match=r"--shard .* torchrun"):
        prepare(train_settings(), replace(launch, shard=True))
