"""Fails in the calls to the system that change the disk: one test walks all of them, one after the other."""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from fitcli.files import publish

WRITES = ("open", "mkdir", "rename", "replace", "fsync", "write", "pwrite", "ftruncate")
"""Functions of `os` that a full disk can make fail."""

CALLS: tuple[tuple[ModuleType, str], ...] = (
    *((os, name) for name in (*WRITES, "unlink", "rmdir", "close")),
    (fcntl, "flock"),
    (io, "open"),
    (builtins, "open"),
    (publish, "exchange"),
)


def fail_with_interrupt() -> None:
    """Ctrl-C."""
    raise KeyboardInterrupt


def fail_with_full_disk() -> None:
    """A full disk; the error names no file, as errors of `write` do."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die() -> None:
    """A kill: nothing is cleaned up."""
    os._exit(9)


@dataclass
class Failure:
    """What happens in one of the calls.

    Attributes:
        fail: Called at that call.
        after: The call is done before.
        at: Number of the call, from 1; 0 to count alone.
        calls: Calls so far.
        seen: Called with the name and the arguments of each call, before it.
    """

    fail: Callable[[], None] = fail_with_interrupt
    after: bool = False
    at: int = 0
    calls: int = 0
    seen: Callable[..., None] = lambda name, arguments: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def counts(self, name: str, arguments: tuple[Any, ...]) -> bool:
        """Whether a call is one that can fail in this way."""
        if name == "open" and not _is_write(arguments):
            return False
        if name == "close" and self.after:
            # `shutil.rmtree` would close the descriptor again, and that error takes the place of this one.
            return False
        if self.fail is fail_with_full_disk:
            return name in (*WRITES, "exchange")
        # Python handles signals in the main thread.
        return self.fail is die or threading.current_thread() is threading.main_thread()

    def wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        """Put this in place of a function."""

        def call(*arguments: Any, **settings: Any) -> Any:
            if not self.counts(name, arguments):
                return real(*arguments, **settings)
            self.seen(name, arguments)
            with self._lock:
                self.calls += 1
                now = self.calls == self.at
            if now and not self.after:
                self.fail()
            result = None if name == "fsync" else real(*arguments, **settings)
            if now:
                self.fail()
            return result

        return call


def _is_write(arguments: tuple[Any, ...]) -> bool:
    """Whether the arguments of `open`, of either kind, ask for writing."""
    mode = arguments[1] if len(arguments) > 1 else "r"
    if isinstance(mode, int):
        return bool(mode & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return bool(set(str(mode)) & set("wax+"))


@contextmanager
def failing(failure: Failure, exchange: bool = True) -> Iterator[None]:
    """Make calls to the system fail in the context; no call waits for the disk.

    Args:
        failure: How, and which.
        exchange: Names can be exchanged in one step.
    """
    with mock.patch.object(publish, "exchange", publish.exchange if exchange else lambda one, other: False):
        patches = [mock.patch.object(module, name, failure.wrap(name, getattr(module, name))) for module, name in CALLS]
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()


def in_child(do: Callable[[], None]) -> int:
    """Run a function in a child process.

    Returns:
        Its exit status: 0, 1 after an exception, 9 after `die`.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            do()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def names(folder: Path) -> list[str]:
    """The names in a folder, in order."""
    return sorted(os.listdir(folder))
