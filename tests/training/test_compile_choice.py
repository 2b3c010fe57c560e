"""A run on a CUDA device compiles its layers if that pays, and says so; `--compile` and `--no-compile` win.

Nothing computes on the device, which only reports that it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command_line import Fit
from support.fake_cuda import CudaMachine, cuda_machine
from support.small_runs import CPU, quietly, run_of, two_classes

from fitcli.device.runtime import Runtime
from fitcli.errors import DeviceError
from fitcli.memory.estimate import estimate_step
from fitcli.tasks.context import TrainingRun
from fitcli.tasks.registry import train_settings
from fitcli.training import compile_choice
from fitcli.training.compile_choice import COMPILE_SECONDS, MARGIN, RATES, SAVED, compile_if_it_pays
from fitcli.training.loop import train
from fitcli.training.prepare import prepare
from fitcli.training.start_options import StartOptions

CUDA = Runtime(torch.device("cuda"), "bf16")
LONG = 10**9


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"), (256, 200))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    monkeypatch.setattr(compile_choice, "check_compiler", lambda device: None)
    # Mean and deviation of the pixels are the only values that preparing copies to a device.
    monkeypatch.setattr("fitcli.patches.cutting.to_device", lambda values, device: values)
    with cuda_machine(monkeypatch) as found:
        yield found


def prepared(data: Path, folder: Path, runtime: Runtime = CUDA, auto: bool = True, **options: Any) -> TrainingRun:
    settings = train_settings(**{"preset": "debug", "batch_size": 2, "steps": LONG, **options})
    start = StartOptions(data=data, folder=folder, runtime=runtime, compile_if_it_pays=auto)
    return prepare(settings, start)[0]


def said(run: TrainingRun) -> list[str]:
    return [line for line in run.introduction() if line.startswith("layers: ")]


def test_the_steps_from_which_on_it_pays(machine: CudaMachine, data: Path, tmp_path: Path) -> None:
    """Worked out from the operations of a step: one step less is not compiled."""
    run = prepared(data, tmp_path / "run", steps=1)
    assert run.work is not None
    seconds = estimate_step(run.work, run.plan).total_flops / RATES["bf16"]
    least = int(MARGIN * COMPILE_SECONDS / (SAVED * seconds)) + 1
    compiled = prepared(data, tmp_path / "run", steps=least + 1)
    assert compiled.runtime.compiled
    assert compiled.work is not None
    assert compiled.work.compiled
    assert said(compiled) == [
        "layers: compiled: it takes about 62 s and saves about 124 s of 1240 s (--no-compile: never)"
    ]
    eager = prepared(data, tmp_path / "run", steps=least - 1)
    assert not eager.runtime.compiled
    assert said(eager) == [
        "layers: not compiled: it takes about 62 s and saves about 124 s of 1240 s (--compile: always)"
    ]
    assert prepared(data, tmp_path / "run", steps=least // 2 + 1, accumulate=2).runtime.compiled


def test_what_the_user_gives_wins(machine: CudaMachine, data: Path, tmp_path: Path) -> None:
    never = prepared(data, tmp_path / "run", auto=False)
    assert (never.runtime.compiled, said(never)) == (False, [])
    always = prepared(data, tmp_path / "run", replace(CUDA, compiled=True), auto=False, steps=1)
    assert (always.runtime.compiled, said(always)) == (True, [])


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_no_other_device_compiles(data: Path, tmp_path: Path, device: str) -> None:
    run = run_of(data, tmp_path / "run", steps=LONG)
    run = replace(run, runtime=replace(CPU, device=torch.device(device)))
    assert compile_if_it_pays(run, LONG, None) is run


def test_operations_that_are_kept_are_worth_more(
    machine: CudaMachine, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the plan of compiled layers takes more than a tenth more operations, nothing is saved however long the run."""
    run = prepared(data, tmp_path / "run", steps=1)
    assert run.work is not None
    seconds: dict[bool, float] = {}
    monkeypatch.setattr(compile_choice, "pass_seconds", lambda run: seconds[run.runtime.compiled])

    def other_plan(run: TrainingRun) -> TrainingRun:
        return run

    seconds |= {False: 1.0, True: 1.12}
    slower = compile_if_it_pays(run, LONG, other_plan)
    assert (slower.runtime.compiled, "saves about 0 s" in said(slower)[-1]) == (False, True)
    seconds[True] = 1.1
    assert compile_if_it_pays(run, LONG, other_plan).runtime.compiled, "it is the better plan"
    selective = replace(run, plan=replace(run.plan, kind="recompute", global_layers="selective"))
    kept = compile_if_it_pays(selective, LONG, None)
    assert (kept.runtime.compiled, kept.plan) == (False, selective.plan)
    assert said(kept)[-1] == "layers: not compiled: the execution keeps selected operations"


def test_a_machine_without_a_compiler_trains_without(
    machine: CudaMachine, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(device: torch.device) -> None:
        raise DeviceError("--compile: no compiler")

    monkeypatch.setattr(compile_choice, "check_compiler", fails)
    run = prepared(data, tmp_path / "run")
    assert (run.runtime.compiled, said(run)) == (False, ["layers: not compiled: --compile: no compiler"])
    assert not prepared(data, tmp_path / "run", steps=1).runtime.compiled, "a short run does not even ask"


@pytest.fixture
def begun(data: Path, tmp_path: Path) -> Path:
    """A run of two steps, made on a CPU before there is a device."""
    train(run_of(data, tmp_path / "run", steps=2), quietly)
    return tmp_path / "run"


@pytest.mark.parametrize(("more", "compiled"), [(1, True), (-2, False)])
def test_a_resumed_run_counts_the_steps_that_are_left(
    begun: Path, machine: CudaMachine, data: Path, monkeypatch: pytest.MonkeyPatch, more: int, compiled: bool
) -> None:
    monkeypatch.setattr(compile_choice, "pass_seconds", lambda run: 1.0)
    total = int(MARGIN * COMPILE_SECONDS / SAVED) + 2 + more
    start = StartOptions(data=data, folder=begun, runtime=CUDA, resume=True, given={"steps"}, compile_if_it_pays=True)
    run, done = prepare(train_settings(steps=total), start)
    assert (done, run.runtime.compiled, run.plan.kind) == (2, compiled, "plain")


@pytest.mark.parametrize(("flags", "auto", "compiled"), [([], True, False), (["--no-compile"], False, False),
                         (["--compile"], False, True)])  # fmt: skip
def test_the_flag_has_three_states(
    fit: Fit, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], auto: bool, compiled: bool
) -> None:
    seen: list[StartOptions] = []

    def stop(settings: object, start: StartOptions) -> None:
        seen.append(start)
        raise DeviceError("seen")

    monkeypatch.setattr("fitcli.training.prepare.prepare", stop)
    monkeypatch.setattr("fitcli.device.runtime.check_compiler", lambda device: None)
    assert fit("train", data, "--out", tmp_path / "run", "--device", "cpu", *flags).stderr == "error: seen\n"
    assert [(start.compile_if_it_pays, start.runtime.compiled) for start in seen] == [(auto, compiled)]
