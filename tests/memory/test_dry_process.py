"""The process that makes tables: what it answers, and when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.processes import NEEDS_PROC, PATIENCE

from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory.dry_process import answer
from fitcli.memory.dry_run import DryStep
from fitcli.memory.run_document import to_document
from fitcli.memory.table import Table
from fitcli.tasks.registry import find_task

TASK = find_task("classify")
STEP = DryStep(task=TASK, config=TASK.preset("debug").config, plan=ExecutionPlan(), precision="fp32")


def test_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    request = json.dumps(to_document(STEP)).encode()
    assert answer(request) == {"table": STEP.table().to_document()}

    def impossible(self: DryStep) -> Table:
        raise FitError("cannot be estimated")

    monkeypatch.setattr(DryStep, "table", impossible)
    assert answer(request) == {"error": "cannot be estimated"}


def started(code: str = "dry_process.main()", parent: int | None = None) -> subprocess.Popen[bytes]:
    program = f"from fitcli.memory import dry_process; dry_process.IDLE_SECONDS = 0.2; {code}"
    command = [sys.executable, "-c", program, str(os.getpid() if parent is None else parent)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


@pytest.mark.more
def test_it_ends_without_requests() -> None:
    with started() as process:
        assert process.wait(timeout=PATIENCE) == 0


def test_it_ends_with_its_input() -> None:
    with started("dry_process.IDLE_SECONDS = 1000; dry_process.main()") as process:
        process.communicate(b"", timeout=PATIENCE)
        assert process.returncode == 0


def test_it_ends_when_its_parent_is_gone() -> None:
    """Even while it works: a parent that was killed closes nothing that a computation would notice."""
    with started("dry_process.IDLE_SECONDS = 1000; dry_process.main()", parent=1 << 30) as process:
        assert process.wait(timeout=PATIENCE) == 1


@NEEDS_PROC
def test_signals_are_left_to_the_parent() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wanted = sum(1 << (number - 1) for number in numbers)
    with started("dry_process.IDLE_SECONDS = 1000; dry_process.main()") as process:
        status, end = Path(f"/proc/{process.pid}/status"), time.monotonic() + PATIENCE
        while int(status.read_text().split("SigIgn:")[1].split()[0], 16) & wanted != wanted:
            assert time.monotonic() < end
            time.sleep(0.05)
        for number in numbers:
            process.send_signal(number)
        process.communicate(b"", timeout=PATIENCE)
        assert process.returncode == 0


@pytest.mark.more
def test_a_request_that_is_cut_off_ends_it() -> None:
    with started("dry_process.IDLE_SECONDS = 1000; dry_process.main()") as process:
        out, _ = process.communicate(b'{"class": "fitcli', timeout=PATIENCE)
        assert not out
        assert process.returncode == 0
