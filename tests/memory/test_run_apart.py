"""Tables made in another process: equal, without memory in this one, and one error when it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from support.processes import NEEDS_PROC

from fitcli.errors import FitError
from fitcli.execution.plan import ExecutionPlan
from fitcli.memory import run_apart
from fitcli.memory.dry_run import DryStep
from fitcli.memory.run_apart import table_apart
from fitcli.tasks.registry import find_task

TASK = find_task("classify")
STEP = DryStep(task=TASK, config=TASK.preset("debug").config, plan=ExecutionPlan(), precision="fp32")


@pytest.fixture(autouse=True)
def _no_process_stays() -> Iterator[None]:
    run_apart.end()
    yield
    run_apart.end()


def test_the_table_is_that_of_this_process() -> None:
    apart, first = table_apart(STEP), run_apart._process
    again, second = table_apart(STEP), run_apart._process
    here = STEP.table()
    assert np.array_equal(apart.lines, here.lines)
    assert again.flops.keys() == here.flops.keys()
    assert first is second, "one process makes several tables"


def test_a_run_that_no_other_process_knows_is_made_here() -> None:
    class Local(DryStep):
        """A class that no other process could find."""

    local = Local(**{name: getattr(STEP, name) for name in ("task", "config", "plan", "precision")})
    assert np.array_equal(table_apart(local).lines, STEP.table().lines)
    assert run_apart._process is None


@pytest.fixture
def other_code(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes the other process run another program."""

    def replace(code: str) -> None:
        start = subprocess.Popen
        command = [sys.executable, "-c", code]
        monkeypatch.setattr(run_apart.subprocess, "Popen", lambda _, **how: start(command, **how))

    return replace


def test_a_process_that_ended_is_replaced(other_code: Callable[[str], None]) -> None:
    run_apart._start().kill()
    other_code("""input(); print('{"error": "from the other"}')""")
    with pytest.raises(FitError, match="from the other"):
        table_apart(STEP)


def test_a_process_that_dies_is_one_error(other_code: Callable[[str], None]) -> None:
    other_code("import os; input(); os._exit(7)")
    with pytest.raises(FitError, match=r"^the memory of this model cannot be estimated \(exit code 7\); measure it"):
        table_apart(STEP)


def test_an_interrupt_ends_the_process(other_code: Callable[[str], None]) -> None:
    other_code("import time; time.sleep(600)")
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        table_apart(STEP)
    assert run_apart._process is None


CODE = """
from fitcli.device.host_memory import bytes_beyond_torch
import test_run_apart
from fitcli.memory.run_apart import table_apart
before = bytes_beyond_torch("VmHWM")
table_apart(test_run_apart.STEP)
print(bytes_beyond_torch("VmHWM") - before)
"""


@pytest.mark.more
@NEEDS_PROC
def test_it_takes_no_memory_of_this_process() -> None:
    path = f"import sys; sys.path[:0] = {sys.path!r}; sys.path.insert(0, {str(__file__).rpartition('/')[0]!r})"
    done = subprocess.run([sys.executable, "-c", path + CODE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 << 20
