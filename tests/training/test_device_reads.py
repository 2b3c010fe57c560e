"""In an optimizer step of any task and execution, the host waits for no work of the device that it queued in this step.

It waits for the step before, when the passes of this one are queued: a device that has work is not idle.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small_runs
from support.pictures import colored, save
from support.valueless import DEVICE, Waits, valueless
from torch import Tensor
from torch.optim import AdamW

from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.device.transfer import PendingRead
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.classify.objective import ClassificationObjective
from fitcli.tasks.context import TrainingRun
from fitcli.training import gradients
from fitcli.training.gradients import Gradients
from fitcli.training.loop import train
from fitcli.training.reports import Report, StepReport
from fitcli.training.step_results import StepResults

TASKS: dict[str, dict[str, Any]] = {
    "classify": {"patch": 4, "balance": True, "drop_path": 0.2, "token_dropout": 0.1, "ema": 0.9},
    "several tasks": {"patch": 4, "balance": True},
    "diffusion": {"task": "diffusion", "patch": 4, "schedule": "cosine@0,1,1"},
    "autoregressive": {"task": "autoregressive", "patch": 16},
    "segment": {"task": "segment", "patch": 4, "class_weights": "root", "focal": 1.0, "drop_path": 0.2},
    "detect": {"task": "detect", "patch": 4, "drop_path": 0.2},
}

PLANS = {
    "plain": ExecutionPlan(),
    "recompute": ExecutionPlan(kind="recompute", handful=2, keep=0.5, global_layers="checkpoint"),
    "stream": ExecutionPlan(kind="stream", handful=2, global_layers="rerun", store="device"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of four images each, of several sizes; `several.csv` has two targets."""
    folder, rows = tmp_path_factory.mktemp("data"), ["path,label:kind,labels:more,split"]
    for label, number in itertools.product(("dark", "light"), range(4)):
        save(folder / label / f"{number}.png", colored((32 + 16 * number, 32), (60, 80, 70), number))
        rows.append(f"{label}/{number}.png,{label},{'a;b' if number % 2 else 'a'},train")
    (folder / "several.csv").write_text("\n".join(rows))
    return folder


def run_of(data: Path, folder: Path, task: str, runtime: Runtime, steps: int = 3) -> TrainingRun:
    source = data / "several.csv" if task == "several tasks" else data
    run = small_runs.run_of(source, folder, accumulate=2, steps=steps, save_every=100, **TASKS[task])
    # No validation and no save between the first step and the second.
    return replace(run, dataset=replace(run.dataset, validation=()), runtime=runtime)


class EnoughSeen(Exception):
    """Ends a run."""


def one_step(run: TrainingRun, patch: pytest.MonkeyPatch, begins: Callable[[], None]) -> None:
    """Train from the start of the first step, at which `begins` is called, to that of the second."""
    plainly, calls = Gradients.accumulate, 0

    def accumulate(self: Gradients, step: int) -> StepResults:
        nonlocal calls
        if (calls := calls + 1) > 1:
            raise EnoughSeen
        begins()
        return plainly(self, step)

    patch.setattr(Gradients, "accumulate", accumulate)
    with pytest.raises(EnoughSeen):
        train(run, lambda report: None)


def waits_of(run: TrainingRun, patch: pytest.MonkeyPatch) -> Waits:
    with valueless(patch) as waits:
        one_step(run, patch, waits.forget)
    return waits


BY_DEFAULT = {
    ("several tasks", "plain"),
    ("diffusion", "stream"),
    ("autoregressive", "recompute"),
    ("segment", "plain"),
}
CASES = [
    pytest.param(*case, marks=() if case[0] == "classify" or case in BY_DEFAULT else pytest.mark.slow)
    for case in itertools.product(TASKS, PLANS)
]


@pytest.mark.walk(2)
@pytest.mark.parametrize(("task", "plan"), CASES)
def test_a_step_does_not_wait(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, plan: str
) -> None:
    """The first step has none before it to wait for."""
    run = replace(run_of(data, tmp_path / "run", task, Runtime(DEVICE, "fp32")), plan=PLANS[plan])
    waits = waits_of(run, monkeypatch)
    assert (waits.reads, waits.sends, waits.events) == ([], [], [])


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_a_step_is_read_when_the_next_one_is_queued(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """Its backward pass is queued, so the device is not idle; the weights have not changed since, for their average."""
    passes, step, seen = gradients.run_job, AdamW.step, list[str]()

    def run_job(*arguments: Any) -> Any:
        outcome = passes(*arguments)
        seen.append("pass")
        return outcome

    def take(*arguments: Any) -> Any:
        seen.append("optimizer")
        return step(*arguments)

    def receive(read: PendingRead) -> Any:
        seen.append("read")
        return received(read)

    received = PendingRead.receive
    monkeypatch.setattr(gradients, "run_job", run_job)
    monkeypatch.setattr(AdamW, "step", take)
    monkeypatch.setattr(PendingRead, "receive", receive)
    plainly, reports = Gradients.accumulate, list[int]()

    def accumulate(gradients: Gradients, step: int) -> StepResults:
        if step == 3:
            raise EnoughSeen
        return plainly(gradients, step)

    def observe(report: Report) -> None:
        if isinstance(report, StepReport):
            reports.append(report.step)
            seen.append(f"report {report.step}")

    monkeypatch.setattr(Gradients, "accumulate", accumulate)
    run = run_of(data, tmp_path / "run", task, Runtime(DEVICE, "fp32"), steps=4)
    with valueless(monkeypatch), pytest.raises(EnoughSeen):
        train(run, observe)
    launched = ["pass", "pass", "optimizer"]
    settled = [["pass", "pass", "read", f"report {number}", "optimizer"] for number in (1, 2)]
    assert seen == [*launched, *settled[0], *settled[1]]


def test_waits_in_a_step_are_counted(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the two passes waits."""
    plainly = ClassificationObjective.scores

    def scores(self: ClassificationObjective, batch: Any, outcome: Any) -> Any:
        assert outcome.output.sum().item() + torch.ones(1).to(outcome.output.device).item()
        return plainly(self, batch, outcome)

    monkeypatch.setattr(ClassificationObjective, "scores", scores)
    waits = waits_of(run_of(data, tmp_path / "run", "classify", Runtime(DEVICE, "fp32")), monkeypatch)
    assert len(waits.reads) == 2 * 2
    assert len(waits.sends) == 2


@pytest.mark.parametrize(
    ("act", "reads", "sends"),
    [
        (lambda there: there.sum().item(), 1, 0),
        (lambda there: bool((there > 0).any()), 1, 0),
        (lambda there: there.cpu(), 1, 0),
        (lambda there: torch.empty(there.shape).copy_(there), 1, 0),
        (lambda there: there.tolist(), 1, 0),
        (lambda there: there.to("cpu", non_blocking=True), 0, 0),
        (lambda there: there + torch.ones(2).to(DEVICE), 0, 1),
        (lambda there: there + torch.ones(2).to(DEVICE, non_blocking=True), 0, 0),
        (lambda there: there.copy_(torch.ones(2)), 0, 1),
        (lambda there: there[torch.tensor([0])], 0, 1),
        (lambda there: there + there.new_tensor(1.0), 0, 1),
        (lambda there: there + torch.tensor([1.0, 2.0], device=DEVICE), 0, 1),
        (lambda there: there * 2 + torch.ones(2, device=DEVICE), 0, 0),
    ],
)
def test_operations_that_wait(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Tensor], Any], reads: int, sends: int
) -> None:
    with valueless(monkeypatch) as waits:
        act(torch.empty(2, device=DEVICE))
    assert (len(waits.reads), len(waits.sends)) == (reads, sends)


@pytest.mark.parametrize("act", [torch.nonzero, lambda there: there[there > 0]])
def test_shapes_that_depend_on_values_are_refused(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[Tensor], Any]
) -> None:
    with valueless(monkeypatch), pytest.raises(NotImplementedError):
        act(torch.empty(2, device=DEVICE))


@pytest.mark.gpu
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("task", TASKS)
def test_a_step_does_not_wait_for_a_real_device(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, plan: str
) -> None:
    """torch counts the waits. In the streamed execution, tokens rest in host memory."""
    how = replace(PLANS[plan], store="host")
    run = replace(run_of(data, tmp_path / "run", task, choose_runtime("cuda", "bf16")), plan=how)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        def begins() -> None:
            caught.clear()
            torch.cuda.set_sync_debug_mode("warn")

        try:
            one_step(run, monkeypatch, begins)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = [str(each.message) for each in caught if "called a synchronizing" in str(each.message)]
    assert waits == []
