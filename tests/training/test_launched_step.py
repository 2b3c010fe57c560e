"""Steps that are read after the next one is launched, as on a CUDA device, make the same run as steps read at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import assert_same_run, contents, logged, metrics
from support.small_runs import at, die, interrupt, quietly, run_of, two_classes
from torch import Tensor, nn

from fitcli.data.bad_images import TooManyBadImages
from fitcli.distributed.world import PeerLost
from fitcli.errors import FitError
from fitcli.training import gradients, loop, trained_model
from fitcli.training.ema import Ema
from fitcli.training.gradients import Gradients
from fitcli.training.launched_step import LaunchedStep
from fitcli.training.loop import train
from fitcli.training.reports import Report, StepReport
from fitcli.training.step_results import StepResults
from models.build import build

TASKS: dict[str, dict[str, Any]] = {
    "classify": {},
    "diffusion": {"task": "diffusion", "patch": 4, "preset": "nano"},
    "autoregressive": {"task": "autoregressive", "patch": 4, "levels": 4},
    "segment": {"task": "segment", "patch": 4},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("data"))


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let runs read their steps late from now on."""
    return lambda: monkeypatch.setattr(loop, "runs_ahead", lambda device: True)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_the_run_is_the_same(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Callable[[], None]
) -> None:
    """Weights, average, moments, states and log, to the bit: with validations, saves and an unusable image."""
    # Whether a save in the background is done in time depends on the clock.
    monkeypatch.setattr(loop, "has_room_for_copy", lambda run: False)
    data = two_classes(tmp_path / "data")
    settings = {"save_every": 3, "keep": 9, "ema": 0.9, "max_bad_images": 1, **TASKS[task]}
    orders = []
    for name in ("prompt", "late"):
        run = run_of(data, tmp_path / name, **settings)
        victim = run.dataset.train[1].path
        pixels = victim.read_bytes()
        victim.write_bytes(b"")
        seen = list[tuple[str, int]]()
        train(run, lambda report, seen=seen: seen.append((type(report).__name__, getattr(report, "step", 0))))  # type: ignore[misc]
        orders.append(seen)
        victim.write_bytes(pixels)
        late()
    assert "BadImageReport" in [kind for kind, _ in orders[0]]
    assert orders[0] == orders[1]
    prompt, later = contents(tmp_path / "prompt"), contents(tmp_path / "late")
    assert len([name for name in prompt if name.endswith("/optimizer.safetensors")]) == 5
    assert prompt.keys() == later.keys()
    assert not [name for name in prompt if prompt[name] != later[name]]


def test_a_report_comes_after_the_next_step_is_launched(data: Path, tmp_path: Path, late: Callable[[], None]) -> None:
    """Except before a validation, a save and the end."""
    late()
    seen, plainly = list[str](), Gradients.accumulate

    def accumulate(self: Gradients, step: int) -> StepResults:
        seen.append(f"passes {step + 1}")
        return plainly(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Gradients, "accumulate", accumulate)
        train(
            run_of(data, tmp_path / "run", steps=5),
            lambda report: seen.append(f"report {report.step}") if isinstance(report, StepReport) else None,
        )
    assert seen == [
        "passes 1", "passes 2", "report 1", "passes 3", "report 2", "passes 4", "report 3", "report 4",
        "passes 5", "report 5",
    ]  # fmt: skip


@pytest.mark.walk(1)
@pytest.mark.parametrize("step", [3, 4, 8])
def test_a_loss_that_is_not_finite_ends_the_run_as_before(
    step: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Callable[[], None]
) -> None:
    """In the middle of an epoch, at its end, and at the end of the run. The error names the same step and images."""
    errors = []
    for name in ("prompt", "late"):
        with monkeypatch.context() as patch:
            spoil_pass(patch, step, lambda outcome: outcome._replace(loss=outcome.loss * math.nan))
            with pytest.raises(FitError, match=f"the loss became nan in step {step}, on ") as caught:
                train(run_of(data, tmp_path / name, ema=0.9), quietly)
        errors.append(str(caught.value).replace(name, "RUN"))
        late()
    assert errors[0] == errors[1]
    assert_same_run(tmp_path / "late", tmp_path / "prompt")
    assert max(entry["step"] for entry in metrics(tmp_path / "late")) == step - 1


@pytest.mark.parametrize("step", [3, 4])
def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_average(
    step: int, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Callable[[], None]
) -> None:
    ends = []
    for name in ("prompt", "late"):
        models, averages = list[nn.Module](), list[nn.Module]()
        with monkeypatch.context() as patch:
            patch.setattr(trained_model, "build", keeping(build, models))
            patch.setattr(trained_model, "Ema", keeping(Ema, averages))
            spoil_gradient(patch, step)
            with pytest.raises(FitError, match=f"the gradient became nan in step {step}, on "):
                train(run_of(data, tmp_path / name, ema=0.9), quietly)
        ends.append([*models[0].state_dict().values(), *averages[0].model.state_dict().values()])
        late()
    assert all(torch.isfinite(tensor).all() for tensor in ends[0])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    assert_same_run(tmp_path / "late", tmp_path / "prompt")


def keeping(make: Callable[..., Any], values: list[Any]) -> Callable[..., Any]:
    """Return a function that does as `make`, and adds each result to `values`."""

    def kept(*arguments: Any, **settings: Any) -> Any:
        values.append(make(*arguments, **settings))
        return values[-1]

    return kept


def spoil_pass(patch: pytest.MonkeyPatch, number: int, change: Callable[[Any], Any]) -> None:
    """Change the outcome of a pass, counted from 1."""
    real, calls = gradients.run_job, list[int]()

    def run_job(*arguments: Any) -> Any:
        outcome = real(*arguments)
        calls.append(0)
        return change(outcome) if len(calls) == number else outcome

    patch.setattr(gradients, "run_job", run_job)


def spoil_gradient(patch: pytest.MonkeyPatch, number: int) -> None:
    """Make the gradient of a step NaN."""
    real, calls = nn.utils.clip_grad_norm_, list[int]()

    def clip(parameters: Any, limit: float) -> Tensor:
        parameters = list(parameters)
        calls.append(0)
        if len(calls) == number:
            parameters[0].grad.fill_(math.nan)
        return real(parameters, limit)

    patch.setattr(gradients.nn.utils, "clip_grad_norm_", clip)


@pytest.mark.walk(1)
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_run_that_died_is_the_same_run(step: int, data: Path, tmp_path: Path, late: Callable[[], None]) -> None:
    train(run_of(data, tmp_path / "whole", ema=0.9), quietly)
    late()
    with pytest.raises(SystemError):
        train(run_of(data, tmp_path / "run", ema=0.9), at(step, die))
    train(run_of(data, tmp_path / "run", resume=True), quietly, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_run_that_is_stopped_reads_first(data: Path, tmp_path: Path, late: Callable[[], None]) -> None:
    """The request comes with the report of step 2, when step 3 is launched: the state is that after step 3."""
    train(run_of(data, tmp_path / "whole"), quietly)
    late()
    with pytest.raises(KeyboardInterrupt):
        train(run_of(data, tmp_path / "run"), at(2, interrupt))
    assert logged(tmp_path / "run") == [("train", 1), ("train", 2), ("train", 3)]
    train(run_of(data, tmp_path / "run", resume=True), quietly, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.walk(1)
@pytest.mark.parametrize("kind", [TooManyBadImages, FitError])
def test_an_error_of_the_next_step_does_not_hide_the_report(
    kind: type[FitError], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Callable[[], None]
) -> None:
    fail_at(monkeypatch, 2, kind("too bad"))
    late()
    with pytest.raises(kind, match="too bad"):
        train(run_of(data, tmp_path / "run"), quietly)
    assert logged(tmp_path / "run") == [("train", 1), ("train", 2)]
    resumable = run_of(data, tmp_path / "run", resume=True)
    monkeypatch.undo()
    assert train(resumable, quietly, resume=True).step == 8


def test_nothing_is_read_after_a_process_is_lost(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Callable[[], None]
) -> None:
    """The others would wait for it."""
    fail_at(monkeypatch, 2, PeerLost("gone"))
    late()
    with pytest.raises(PeerLost):
        train(run_of(data, tmp_path / "run"), quietly)
    assert logged(tmp_path / "run") == [("train", 1)]


def fail_at(patch: pytest.MonkeyPatch, step: int, error: FitError) -> None:
    """Raise an error in the gradients of a step, counted from 0."""
    plainly = Gradients.accumulate

    def accumulate(self: Gradients, number: int) -> StepResults:
        if number == step:
            raise error
        return plainly(self, number)

    patch.setattr(Gradients, "accumulate", accumulate)


def test_speed_and_waiting_are_those_of_the_device(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of the host, which may be done with a step before the device, or wait while the device works."""

    class Moment:
        def __init__(self, device: torch.device) -> None:
            pass

        def seconds_since(self, earlier: object) -> float:
            return 0.5

    reports, plainly = list[StepReport](), LaunchedStep.report
    monkeypatch.setattr(loop, "Moment", Moment)

    def report(step: LaunchedStep, run: Any) -> StepReport:
        step.results.waited = 0.25 * step.number
        return plainly(step, run)

    def observe(report: Report) -> None:
        if isinstance(report, StepReport):
            reports.append(report)

    monkeypatch.setattr(LaunchedStep, "report", report)
    train(run_of(data, tmp_path / "run", steps=3), observe)
    assert [each.images_per_second for each in reports] == [4.0] * 3
    assert [each.data_wait for each in reports] == [0.5, 1.0, 1.0]
