"""Runs `fit train` in separate processes and kills them.

The processes are forked from one that has imported everything, because importing takes longer than training.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

SECONDS = 240
"""Longest wait for a process, in seconds."""

SAVER_CALLS = ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir")
"""System calls that change files."""

FORKSERVER = multiprocessing.get_context("forkserver")
IMPORTED = (
    "fitcli.app",
    "fitcli.training.loop",
    "fitcli.training.prepare",
    "fitcli.training.progress_view",
    "fitcli.tasks.classify.classify_image",
    "torch._dynamo",
    "torch._refs",
    "torch._meta_registrations",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
    "PIL.PngImagePlugin",
)
FORKSERVER.set_forkserver_preload(list(IMPORTED))


def start(arguments: Sequence[object], output: Path, killed_at: int | None = None) -> ForkServerProcess:
    """Start `fit`, with one thread as in this process.

    Args:
        arguments: The arguments of the command line.
        output: The file for stdout and stderr.
        killed_at: The number of the system call while saving at which the process kills itself; None for none.
    """
    process = FORKSERVER.Process(target=_fit, args=([str(argument) for argument in arguments], output, killed_at))
    process.start()
    return process


def _fit(arguments: list[str], output: Path, killed_at: int | None) -> None:
    import torch

    from fitcli.__main__ import main

    torch.set_num_threads(1)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["fit", *arguments]
    if killed_at is not None:
        _die_within_saving(killed_at)
    main()


def _die_within_saving(killed_at: int) -> None:
    calls = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            nonlocal calls
            if threading.current_thread().name == "saver":
                calls += 1
                if calls == killed_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **settings)

        return call

    for name in SAVER_CALLS:
        setattr(os, name, counted(getattr(os, name)))


def wait(process: ForkServerProcess) -> int | None:
    """Wait for the end and return the exit code, negative for a signal."""
    process.join(SECONDS)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def finish(arguments: Sequence[object], output: Path) -> str:
    """Run `fit` to its end without an error and return what it printed."""
    process = start(arguments, output)
    assert wait(process) == 0, output.read_text()
    return output.read_text()


def logged_step(run: Path) -> int:
    """Return the last step of which a run has logged the whole line; 0 before the first."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return int(whole[-1]["step"]) if whole else 0


def kill_at(process: ForkServerProcess, run: Path, step: int, delay: float) -> bool:
    """Kill a process `delay` seconds after a step was logged, or after the start if `step` is 0.

    Returns:
        Whether the process was still running then.
    """
    deadline = time.monotonic() + SECONDS
    while step and logged_step(run) < step and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    return wait(process) == -signal.SIGKILL


def train_with_kills(
    arguments: Sequence[object], run: Path, output: Path, steps: int, kills: int, moments: random.Random
) -> list[int]:
    """Train, kill the process at random moments and resume each time; then let the run end.

    Args:
        arguments: The arguments of `fit`, without `--resume`.
        run: The run folder among them.
        output: The file for stdout and stderr.
        steps: The number of steps of the whole run.
        kills: The number of kills.
        moments: The source of the random moments.

    Returns:
        The last logged step at each kill.
    """
    done: list[int] = []
    while len(done) < kills:
        first = logged_step(run)
        # Each kill leaves an equal part of the steps to every later one.
        step = moments.randint(first, max(first, steps * (len(done) + 1) // (kills + 1)))
        if kill_at(start([*arguments, *resuming(run)], output), run, step, moments.uniform(0, 0.1)):
            done.append(logged_step(run))
    finish([*arguments, *resuming(run)], output)
    return done


def resuming(run: Path) -> list[str]:
    """Return `--resume` if there is a run: a process that is killed early leaves none."""
    return ["--resume"] if (run / "config.json").is_file() else []
