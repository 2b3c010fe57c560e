"""Training by several processes is training by one: the same weights, averages, losses and scores, in float64."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.pictures import save
from support.processes import run_ranks
from torch import nn

from fitcli.data.bad_images import TooManyBadImages
from fitcli.device.runtime import choose_runtime
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import ALONE, World
from fitcli.errors import DataError, FitError, ImageError
from fitcli.execution.plan import ExecutionPlan
from fitcli.runs.train_settings import TrainSettings
from fitcli.training import fsdp, loop
from fitcli.training.loop import train
from fitcli.training.prepare import prepare
from fitcli.training.reports import Report, StepReport
from fitcli.training.start_options import Launch
from fitcli.training.stop_requests import TimeIsOver
from models.build import build

CPU = choose_runtime("cpu", "fp32")

SIZES = ((24, 24), (40, 33), (30, 64), (17, 50))

CASES: dict[str, dict[str, Any]] = {
    "classify": {"task": "classify", "balance": True, "label_smoothing": 0.1, "ema": 0.5},
    "diffusion": {"task": "diffusion", "ema": 0.5},
    "autoregressive": {"task": "autoregressive", "levels": 8, "ema": 0.5, "size": 32},
}

RECOMPUTE = {"kind": "recompute", "handful": 2, "global_layers": "checkpoint"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine images of one class and six of another, of four sizes."""
    folder = tmp_path_factory.mktemp("data")
    for label, count in (("many", 9), ("few", 6)):
        for number in range(count):
            pixels = np.random.default_rng([count, number]).integers(0, 256, (*SIZES[number % 4], 3), np.uint8)
            save(folder / label / f"{number}.png", pixels)
    return folder


def in_float64(*arguments: Any, **settings: Any) -> Any:
    """As `build`. Data is float32: what goes into a layer is cast."""
    model = build(*arguments, **settings).double()
    for module in model.modules():
        if any(True for _ in module.parameters(recurse=False)):
            module.register_forward_pre_hook(_cast)
    return model


def _cast(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in arguments)


def stop_at(step: int | None) -> Callable[[Report], None]:
    """Asks for a stop, in this process alone, when a step has been made."""

    def observe(report: Report) -> None:
        if isinstance(report, StepReport) and report.step == step:
            signal.raise_signal(signal.SIGTERM)

    return observe


def train_here(
    data: Path,
    folder: Path,
    world: World = ALONE,
    shard: bool = False,
    plan: dict[str, Any] | None = None,
    resume: bool = False,
    stop: int | None = None,
    stopper: int = 0,
    late: bool = False,
    **settings: Any,
) -> None:
    """A run of this process, or of all of a job, in float64."""
    asked = TrainSettings(**{"preset": "debug", "batch_size": 4, "accumulate": 2, "steps": 3, **settings})
    run, _ = prepare(asked, Launch(data=data, folder=folder, runtime=CPU, resume=resume, world=world, shard=shard))
    if plan is not None:
        run = replace(run, plan=ExecutionPlan(**plan))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "build", in_float64)
        patch.setattr(fsdp, "build", in_float64)
        if late:
            with pytest.raises(TimeIsOver):
                train(replace(run, deadline=0 if world.rank == stopper else math.inf), lambda report: None, resume)
            return
        if stop is None:
            train(run, lambda report: None, resume)
            return
        with pytest.raises(KeyboardInterrupt):
            train(run, stop_at(stop if world.rank == stopper else None), resume)


def train_together(data: Path, runs: list[dict[str, Any]]) -> None:
    """Several runs of a job, one after the other."""
    with processes("cpu") as world:
        for run in runs:
            train_here(data, world=world, **run)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """What was logged, without what depends on the clock."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    timed = ("images_per_second", "patches_per_second", "data_wait", "peak_bytes")
    return [{name: value for name, value in entry.items() if name not in timed} for entry in entries]


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("last/model.safetensors", "last/ema.safetensors", "model.safetensors"):
        if not (other / name).is_file():
            continue
        mine, theirs = load_file(one / name), load_file(other / name)
        assert mine.keys() == theirs.keys()
        for key, tensor in theirs.items():
            assert tensor.dtype == torch.float64
            torch.testing.assert_close(mine[key], tensor, rtol=0, atol=1e-9, msg=lambda said, key=key: f"{key}: {said}")
    mine_said, theirs_said = metrics(one), metrics(other)
    assert len(mine_said) == len(theirs_said)
    for said, expected in zip(mine_said, theirs_said, strict=True):
        assert said.keys() == expected.keys()
        for key, value in expected.items():
            same = said[key] == value if isinstance(value, str) else math.isclose(said[key], value, abs_tol=1e-9)
            assert same, f"{key} of {said}, not {value}"


def test_two_processes_are_one(data: Path, tmp_path: Path) -> None:
    settings = {**CASES["classify"], "steps": 2, "accumulate": 1}
    run_ranks(2, train_together, data, [{"folder": tmp_path / "two", **settings}])
    train_here(data, tmp_path / "one", **settings)
    assert_same_run(tmp_path / "two", tmp_path / "one")


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
    run_ranks(2, train_together, data, runs)
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
    assert_same_run(shared / f"{task} {execution}", alone / task)


@pytest.mark.distributed
@pytest.mark.parametrize("count", [1, 3])
def test_a_sharded_run_goes_on_with_any_number_of_processes(data: Path, tmp_path: Path, count: int) -> None:
    """Stopped by a signal to one process, which is not the first: all agree on the step."""
    settings = {**CASES["classify"], "batch_size": 6, "steps": 4}
    train_here(data, tmp_path / "whole", **settings)
    begun = {"folder": tmp_path / "run", "shard": True, "stop": 2, "stopper": 1, **settings}
    run_ranks(2, train_together, data, [begun])
    assert metrics(tmp_path / "run")[-1]["step"] == 2
    again = {"folder": tmp_path / "run", "resume": True, **settings}
    if count == 1:
        train_here(data, **again)
    else:
        run_ranks(count, train_together, data, [{**again, "shard": True}])
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.distributed
def test_the_time_of_one_process_is_that_of_all(data: Path, tmp_path: Path) -> None:
    settings = CASES["classify"]
    run = {"folder": tmp_path / "run", **settings}
    run_ranks(2, train_together, data, [{**run, "late": True, "stopper": 1}, {**run, "resume": True}])
    run_ranks(2, train_together, data, [{"folder": tmp_path / "whole", **settings}])
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def talk() -> dict[str, Any]:
    """What processes of a mesh of two by two tell each other."""
    with processes("cpu", group_parallel=2) as world:
        found: dict[str, Any] = {"place": (world.data.rank, world.groups.rank)}
        found["long"] = [len(text) for text in world.gather("x" * 1000 * world.rank)]
        found["sums"] = world.sums({"a": 0.1 * world.rank, f"only {world.rank}": 1})
        found["first"] = world.broadcast(["of", world.rank])
        tensors = [torch.full((3,), float(world.rank)), torch.ones(2, 2, dtype=torch.float64)]
        world.add_up(tensors, world.groups)
        found["groups"] = [tensor.tolist() for tensor in tensors]
        world.add_up(tensors)
        found["all"] = [tensor.tolist() for tensor in tensors]
        found["errors"] = [_raised(world, 1, error) for error in (TooManyBadImages("a"), ImageError("b", "c"))]
        return found


def _raised(world: World, rank: int, error: FitError) -> tuple[str, str, bool]:
    def act() -> None:
        if world.rank == rank:
            raise error

    with pytest.raises(FitError) as raised:
        world.gather_results(act)
    return type(raised.value).__name__, str(raised.value), raised.value.shared


@pytest.mark.distributed
def test_what_processes_tell_each_other() -> None:
    found = run_ranks(4, talk)
    assert [each["place"] for each in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for rank, each in enumerate(found):
        assert each["long"] == [0, 1000, 2000, 3000]
        assert each["sums"] == {"a": 0.1 + 0.2 + 0.3 + 0.0, **{f"only {other}": 1 for other in range(4)}}
        assert each["first"] == ["of", 0]
        pair = 1.0 if rank < 2 else 5.0
        assert each["groups"] == [[pair] * 3, [[2.0] * 2] * 2]
        assert each["all"] == [[12.0] * 3, [[8.0] * 2] * 2]
        assert each["errors"][0] == ("TooManyBadImages", "a", True)
        assert each["errors"][1] == ("ImageError" if rank == 1 else "FitError", "b: c", True)


def leave() -> str:
    """One process ends while the others wait for it."""
    try:
        with processes("cpu") as world:
            if world.rank == 1:
                return "gone"
            world.barrier()
    except SystemExit as error:
        return f"exit {error.code}"
    except FitError as error:
        return type(error).__name__
    return "stayed"


@pytest.mark.distributed
def test_a_process_that_is_gone_is_noticed() -> None:
    assert run_ranks(3, leave) == ["PeerLost", "gone", "exit 1"]


def test_what_cannot_be_shared(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "3",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FitError, match="--group-parallel 2: does not divide the 3 processes"), processes("cpu", 2):
        pass
    alone = Launch(data=data, folder=tmp_path / "run", runtime=CPU)
    three = replace(ALONE, size=3, data=replace(ALONE.data, size=3))
    with pytest.raises(FitError, match=r"--batch-size 4: 3 processes .* use a multiple of 3"):
        prepare(TrainSettings(batch_size=4), replace(alone, world=three))
    with pytest.raises(FitError, match=r"--shard .* torchrun"):
        prepare(TrainSettings(), replace(alone, shard=True))
    assert issubclass(TooManyBadImages, DataError)
