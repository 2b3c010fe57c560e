"""Sums that begin during the backward pass are those that follow it, to the bit; and no process waits for ever."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from support.processes import run_ranks
from support.runs import contents, metrics
from support.small_runs import CPU, data_of, two_classes
from torch import nn

from fitcli.distributed import world
from fitcli.distributed.early_sums import EarlySums
from fitcli.distributed.gradient_sums import GradientSums
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import World
from fitcli.errors import OutOfMemory
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.registry import train_settings
from fitcli.training import gradients
from fitcli.training.loop import train
from fitcli.training.prepare import prepare
from fitcli.training.reports import MemoryReport, Report
from fitcli.training.start_options import StartOptions

PLANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "layers": {"kind": "layers", "global_layers": "checkpoint"},
    "recompute": {"kind": "recompute", "handful": 2, "keep": 0.5, "global_layers": "checkpoint"},
    "stream": {"kind": "stream", "handful": 2, "global_layers": "rerun"},
}

TASKS: dict[str, dict[str, Any]] = {
    "classify": {"patch": 4, "drop_path": 0.2},
    "diffusion": {"task": "diffusion", "patch": 4, "preset": "nano"},
    "autoregressive": {"task": "autoregressive", "patch": 4, "levels": 4},
    "segment": {"task": "segment", "patch": 4},
    "detect": {"task": "detect", "patch": 4},
}


class Watch:
    """Counts the sums that begin before the backward pass of a step ends, and all of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.early, self.all, self._within = 0, 0, False
        during, begin = EarlySums.during_backward, EarlySums._begin

        @contextmanager
        def during_backward(sums: EarlySums) -> Iterator[None]:
            with during(sums):
                self._within = True
                yield
                self._within = False

        def begun(sums: EarlySums) -> None:
            self.early += self._within
            self.all += 1
            begin(sums)

        patch.setattr(EarlySums, "during_backward", during_backward)
        patch.setattr(EarlySums, "_begin", begun)


def train_on(here: World, data: Path, folder: Path, plan: dict[str, Any], **settings: Any) -> list[Report]:
    fields = train_settings(**{"preset": "debug", "batch_size": 6, "steps": 3, "ema": 0.9, **settings})
    data = data_of(fields.task, data)
    run, _ = prepare(fields, StartOptions(data=data, folder=folder, runtime=CPU, world=here, memory_bytes=1 << 40))
    reports = list[Report]()
    train(replace(run, plan=ExecutionPlan(**plan)), reports.append)
    return reports


def train_both_ways(data: Path, folder: Path, cases: list[tuple[str, str, int]]) -> dict[str, tuple[int, int]]:
    """Train with sums during and after the backward pass; return how many began early, and the number of all."""
    counts: dict[str, tuple[int, int]] = {}
    with processes("cpu") as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "BUCKET_BYTES", 100_000)
        for task, plan, accumulate in cases:
            name = f"{task} {plan} {accumulate}"
            for way in ("early", "after"):
                with pytest.MonkeyPatch.context() as inner:
                    watch = Watch(inner)
                    if way == "after":
                        inner.setattr(GradientSums, "_early_sums", lambda _: None)
                    train_on(here, data, folder / way / name, PLANS[plan], accumulate=accumulate, **TASKS[task])
                    if way == "early":
                        counts[name] = watch.early, watch.all
    return counts


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = two_classes(tmp_path_factory.mktemp("data") / "images", (40, 33), 6)
    for task in TASKS:
        data_of(task, folder)
    return folder


CASES = [("classify", *each) for each in itertools.product(("plain", "layers", "recompute"), (1, 3))]
OTHERS = [
    ("classify", "stream", 1),
    ("diffusion", "plain", 1),
    ("autoregressive", "recompute", 1),
    ("segment", "plain", 1),
    ("detect", "plain", 1),
]


@pytest.mark.distributed
@pytest.mark.parametrize("count", [2, 3])
def test_early_sums_are_those_that_follow_the_pass(data: Path, tmp_path: Path, count: int) -> None:
    """Weights, average, moments and log. Of all steps but the first, most sums begin before the backward pass ends."""
    cases = CASES + (OTHERS if count == 3 else [])
    for counts in run_ranks(count, train_both_ways, data, tmp_path, cases):
        for name, (early, every) in counts.items():
            assert (early, every) == (0, 0) if "stream" in name else 0 < every // 2 <= early <= every, (name, early)
    for case in cases:
        name = " ".join(map(str, case))
        early, after = contents(tmp_path / "early" / name), contents(tmp_path / "after" / name)
        assert early.keys() == after.keys()
        assert not [file for file in early if early[file] != after[file]], name


def run_out(data: Path, folder: Path, accumulate: int, calls: set[int], when: str) -> dict[str, Any]:
    """Train while memory runs out in some passes of rank 1: before its sums, among them, or after them."""
    with processes("cpu") as here, pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "BUCKET_BYTES", 100_000)
        real, count, began = gradients.run_job, list[int](), EarlySums._begin

        def run_job(*arguments: Any) -> Any:
            count.append(0)
            fails = here.rank == 1 and len(count) in calls
            if fails and when == "before":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            with pytest.MonkeyPatch.context() as inner:
                if fails and when == "among":
                    begun = list[int]()

                    def begin(sums: EarlySums) -> None:
                        begun.append(0)
                        if len(begun) == 3:
                            inner.undo()
                            raise torch.OutOfMemoryError("CUDA out of memory.")
                        began(sums)

                    inner.setattr(EarlySums, "_begin", begin)
                outcome = real(*arguments)
            if fails and when == "after":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return outcome

        patch.setattr(gradients, "run_job", run_job)
        try:
            reports = train_on(here, data, folder, {}, accumulate=accumulate, patch=4)
        except OutOfMemory as error:
            return {"error": str(error)}
        return {"passes": len(count), "fallbacks": sum(isinstance(each, MemoryReport) for each in reports)}


@pytest.mark.distributed
@pytest.mark.parametrize("when", ["before", "among", "after"])
def test_one_process_that_runs_out_of_memory_makes_all_start_over(data: Path, tmp_path: Path, when: str) -> None:
    """It happens in the last pass of the second step, whose sums the others have begun."""
    expected, found = (
        run_ranks(2, run_out, data, tmp_path / name, 2, calls, when) for name, calls in (("plain", {0}), ("out", {4}))
    )
    assert expected == [{"passes": 6, "fallbacks": 0}] * 2
    assert found == [{"passes": 8, "fallbacks": 1}] * 2
    for one, other in zip(metrics(tmp_path / "out"), metrics(tmp_path / "plain"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)


@pytest.mark.distributed
def test_running_out_twice_ends_all_processes(data: Path, tmp_path: Path) -> None:
    found = run_ranks(2, run_out, data, tmp_path / "run", 1, {2, 4}, "among")
    assert [each.get("error", each)[:20] for each in found] == ["out of memory on cpu"] * 2


class Recorder(World):
    """Adds up with a second process whose gradients are the same, and records the sizes of the reductions."""

    __slots__ = ()
    sizes: ClassVar[list[int]] = []

    def begin_sum(self, bucket: Any, axis: Any = None) -> Any:
        values = [2 * tensor for tensor in bucket]
        self.sizes.append(len(bucket))
        return type("Sum", (), {"receive": lambda self: values})()


def test_reductions_and_their_order_follow_from_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a parameter gets no gradient: it holds up the sums behind it, and counts as zero."""
    monkeypatch.setattr(world, "BUCKET_BYTES", 40)
    Recorder.sizes.clear()
    parameters = [nn.Parameter(torch.full((5,), float(number))) for number in range(4)]
    sums = EarlySums(Recorder(size=2), parameters)
    with sums.during_backward():
        (parameters[0] * parameters[1] * parameters[3]).sum().backward()
        assert Recorder.sizes == []
    assert parameters[0].grad is not None
    sums.begin_rest()
    assert Recorder.sizes == [2, 2]
    assert all(parameter.grad is None for parameter in parameters)
    assert sums.have == {parameters[0], parameters[1], parameters[3]}
    sums.finish({parameters[0], parameters[1], parameters[2]})
    gradients = [None if parameter.grad is None else parameter.grad.tolist() for parameter in parameters]
    assert gradients == [[6.0] * 5, [0.0] * 5, [0.0] * 5, None]
