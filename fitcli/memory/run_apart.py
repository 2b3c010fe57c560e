"""Makes tables in another process, so that the memory of the dry run does not count against the budget of this one.

The process (`dry_process.py`) is started on first use, answers one request after the other, and ends soon after.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fitcli
from fitcli import console
from fitcli.errors import FitError
from fitcli.memory.dry_run import DryRun
from fitcli.memory.run_document import UnknownError, to_document
from fitcli.memory.table import Table

WITHOUT = "measure it with `fit profile-memory --method measure`, or train without --memory"
"""What a user can do if no table can be made."""


def table_apart(run: DryRun) -> Table:
    """Return the table of a step or a pass, made in another process; in this one if no other has its code.

    Raises:
        FitError: The step cannot run without memory, or the process failed.
    """
    try:
        request = json.dumps(to_document(run)).encode() + b"\n"
    except UnknownError:
        # A task of somebody else.
        return run.table()
    with _lock:
        answer = _ask(request)
    if "error" in answer:
        raise FitError(answer["error"])
    return Table.from_document(answer["table"])


def _ask(request: bytes) -> dict[str, Any]:
    """Send a request and return the answer. A process that has just ended itself is replaced once."""
    for process in (_running(), None):
        if process is not None and (answer := _exchange(process, request)) is not None:
            return answer
    process = _start()
    answer = _exchange(process, request)
    if answer is None:
        raise FitError(f"the memory of this model cannot be estimated (exit code {process.returncode}); {WITHOUT}")
    return answer


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> dict[str, Any] | None:
    """Send a request to a process and return its answer; None if it has ended. An exception ends the process."""
    assert process.stdin is not None
    assert process.stdout is not None
    line = b""
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(request)
            process.stdin.flush()
            line = process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith(b"\n") else None
    except BaseException:
        process.kill()
        end()
        raise
    if answer is None:
        end()
    return answer


_process: subprocess.Popen[bytes] | None = None
_lock = threading.Lock()


def _running() -> subprocess.Popen[bytes] | None:
    """Return the process if there is one."""
    if _process is not None and _process.poll() is not None:
        end()
    return _process


def _start() -> subprocess.Popen[bytes]:
    global _process
    package = str(Path(fitcli.__file__).parents[1])
    # -P keeps the working directory, which may hold anything, out of the import path.
    _process = subprocess.Popen(
        [sys.executable, "-P", "-m", "fitcli.memory.dry_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if console.debugging() else subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([package, *filter(None, sys.path)])},
        start_new_session=True,  # Ctrl-C reaches the parent only, which ends the process
    )
    return _process


def end() -> None:
    """End the process. It also ends by itself, with this process."""
    global _process
    process, _process = _process, None
    if process is None:
        return
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.wait()


def _forget() -> None:
    """Forget the process in a forked child: it answers to the parent."""
    global _process, _lock
    if _process is not None:
        _process.returncode = 0  # the child must not wait for it
    _process, _lock = None, threading.Lock()


atexit.register(end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
