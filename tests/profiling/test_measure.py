"""Measurements in a process of its own: what a process that fails or runs out of memory means."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from fitcli.device.runtime import choose_runtime
from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.estimate import Training
from fitcli.profiling import measure as module
from fitcli.profiling.inference import Inference
from fitcli.profiling.measure import STEPS, Measurement, measure_pass, measure_step
from fitcli.tasks.registry import TASKS, find_task

CPU = choose_runtime("cpu", "fp32")


def measured(task: str) -> Measurement | None:
    chosen = find_task(task)
    inference = Inference(
        task=chosen.passes, config=chosen.preset("debug").config, groups=2, device="cpu", budget_bytes=2**30
    )
    return measure_pass(task, inference, None, (1, 2), CPU)


@pytest.mark.walk(1)
@pytest.mark.parametrize("task", TASKS)
def test_a_pass_of_every_task(task: str) -> None:
    result = measured(task)
    assert result is not None
    assert 0 < result.peak_bytes == result.reserved_bytes < 2**30
    assert result.seconds > 0


@pytest.mark.more
def test_a_step_counts_what_was_loaded_before_its_model() -> None:
    work = Training(task=find_task("classify"), config=find_task("classify").preset("debug").config, groups=2,
                    device="cpu", ema=False, batches=1)  # fmt: skip
    result = measure_step("classify", work, ExecutionPlan(), (1, 2), CPU)
    assert result is not None
    assert 0 < result.loaded_bytes < result.peak_bytes


@pytest.mark.parametrize(
    ("code", "stdout", "expected"),
    [
        (
            0,
            '{"peak_bytes": 3, "reserved_bytes": 4, "seconds": 0.5}',
            Measurement(peak_bytes=3, reserved_bytes=4, seconds=0.5),
        ),
        (0, "null", None),
        (-9, "", None),
        (137, "", None),
    ],
    ids=["measured", "out of memory on a device", "killed by the system", "killed in a container"],
)
def test_outcomes(code: int, stdout: str, expected: Measurement | None, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[dict[str, Any]] = []

    def run(command: list[str], input: str, **_: object) -> subprocess.CompletedProcess[str]:
        requests.append(json.loads(input))
        return subprocess.CompletedProcess(command, code, stdout, "")

    monkeypatch.setattr(module.subprocess, "run", run)
    assert measured("classify") == expected
    assert (requests[0]["kind"], requests[0]["steps"], requests[0]["device"]) == ("infer", STEPS, "cpu")


def test_a_failure_names_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback ...\nRuntimeError: no kernel\n")

    monkeypatch.setattr(module.subprocess, "run", run)
    with pytest.raises(FitError, match=r"^measuring failed: RuntimeError: no kernel; use --method estimate$"):
        measured("classify")
