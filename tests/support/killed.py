"""Runs `fit train` in processes of its own, and kills them.

The processes are forked from one that has imported everything, which takes longer than training does.
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

SECONDS = 120
"""After which a process that should have done something has not."""

SAVER_CALLS = ("replace", "rename", "fsync", "mkdir", "unlink", "rmdir")
"""Of the system, that change what is on the disk."""

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


def start(arguments: Sequence[object], said: Path, killed_at: int | None = None) -> ForkServerProcess:
    """Start `fit`, with one thread as in this process.

    Args:
        arguments: Of the command line.
        said: File for what it says.
        killed_at: It kills itself in place of the call of this number, of those that saving makes to the system.
    """
    process = FORKSERVER.Process(target=_fit, args=([str(argument) for argument in arguments], said, killed_at))
    process.start()
    return process


def _fit(arguments: list[str], said: Path, killed_at: int | None) -> None:
    import torch

    from fitcli.__main__ import main

    torch.set_num_threads(1)
    with said.open("w") as file:
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
    """Wait for the end; the exit code, negative for a signal."""
    process.join(SECONDS)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def finish(arguments: Sequence[object], said: Path) -> str:
    """Run `fit` to a good end; what it said."""
    process = start(arguments, said)
    assert wait(process) == 0, said.read_text()
    return said.read_text()


def logged_step(run: Path) -> int:
    """The last step that a run has logged whole; 0 before the first."""
    try:
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    whole = [json.loads(line) for line in lines if line.endswith("\n")]
    return int(whole[-1]["step"]) if whole else 0


def kill_at(process: ForkServerProcess, run: Path, step: int, delay: float) -> bool:
    """SIGKILL some seconds after a step was logged, or after the start where that is step 0.

    Returns:
        Whether it was in time: the process had not ended.
    """
    deadline = time.monotonic() + SECONDS
    while step and logged_step(run) < step and process.is_alive():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(delay)
    process.kill()
    return wait(process) == -signal.SIGKILL


def train_with_kills(
    arguments: Sequence[object], run: Path, said: Path, steps: int, kills: int, moments: random.Random
) -> list[int]:
    """Start training, have it killed so many times at random moments, each time resume; then let it end.

    Args:
        arguments: Of `fit`, without `--resume`.
        run: The run folder that they name.
        said: File for what is said.
        steps: Of the whole run.
        kills: How often.
        moments: Draws them.

    Returns:
        Of each kill, how far the run had come.
    """
    done: list[int] = []
    while len(done) < kills:
        first = logged_step(run)
        # Each kill leaves their share of the steps to those that follow.
        step = moments.randint(first, max(first, steps * (len(done) + 1) // (kills + 1)))
        if kill_at(start([*arguments, *resuming(run)], said), run, step, moments.uniform(0, 0.1)):
            done.append(logged_step(run))
    finish([*arguments, *resuming(run)], said)
    return done


def resuming(run: Path) -> list[str]:
    """A process that is killed before there was a run leaves none to resume."""
    return ["--resume"] if (run / "config.json").is_file() else []
