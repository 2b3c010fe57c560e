"""Runs functions in several processes that exchange data, as torchrun would start them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the processes")
"""Mark of tests that call `worker`."""

PATIENCE = 240
"""Longest wait for a process to end, in seconds."""


def run_ranks(count: int, function: Callable[..., Any], *arguments: object) -> list[Any]:
    """Call a function of a module in `count` processes and return the results in the order of the ranks.

    Raises:
        AssertionError: A process failed; the message holds its traceback.
    """
    context, port = get_context("spawn"), _free_port()
    pipes = [context.Pipe(duplex=False) for _ in range(count)]
    started = [
        context.Process(target=_call, args=(rank, count, port, pipe[1], function, arguments))
        for rank, pipe in enumerate(pipes)
    ]
    for process, (_, ours) in zip(started, pipes, strict=True):
        process.start()
        # Only the process may hold this end, so that the other end reports its death.
        ours.close()
    answers = [_answer(pipe[0]) for pipe in pipes]
    for process in started:
        process.join()
    failures = [str(value) for failed, value in answers if failed]
    assert not failures, "\n".join(failures)
    return [value for _, value in answers]


def worker(job: subprocess.Popen[str], rank: int) -> int:
    """Return the process id of a rank that torchrun started."""
    for child in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split():
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={rank}".encode() in environment:
            return int(child)
    raise AssertionError(f"no process {rank}")


def stop_until_noticed(job: subprocess.Popen[str], rank: int) -> None:
    """Stop a rank of two with a signal, wait for the end of the other, and kill the first as torchrun would."""
    number, other = worker(job, rank), worker(job, 1 - rank)
    os.kill(number, signal.SIGSTOP)
    end = time.monotonic() + PATIENCE
    while _is_alive(other):
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(number, signal.SIGKILL)


def _is_alive(number: int) -> bool:
    """Whether a process exists that has not ended."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _answer(pipe: Connection) -> tuple[bool, Any]:
    try:
        answer: tuple[bool, Any] = pipe.recv()
    except EOFError:
        return True, "the process died"
    return answer


def _call(
    rank: int, count: int, port: int, pipe: Connection, function: Callable[..., Any], arguments: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    values = (rank, rank, count, count, "127.0.0.1", port)
    os.environ.update({name: str(value) for name, value in zip(names, values, strict=True)})
    try:
        pipe.send((False, function(*arguments)))
    except BaseException:
        pipe.send((True, f"process {rank}: {traceback.format_exc()}"))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
