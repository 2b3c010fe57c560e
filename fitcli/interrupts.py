"""Decides what the signals do that ask a process to stop: a `KeyboardInterrupt`, so that no half-written file stays.

Training handles the same signals by a request to stop, see `training/stop_requests.py`. A signal that was ignored when
the process started stays ignored, everywhere: `nohup` does that with SIGHUP, and a shell with SIGINT for a job in the
background.

Imports the standard library only.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""Exit code of an interrupted command: 128 + SIGINT, as in shells."""

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")

STOP_SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
"""The signals that ask a process to stop, on this system: Ctrl-C; the end of a service or a job; a closed terminal; the
warnings of job queues before the time of a job is over; the limit of CPU time.
"""

STARTERS = ("fitcli.__main__", "__main__", "fitcli.app", "fitcli.commands.")
"""Prefixes of the modules that import the dependencies of a command before it starts."""


def catch_interrupts() -> None:
    """Install `interrupt` as the handler of all signals that ask to stop.

    Under torchrun all but SIGINT keep their default: torchrun sends them to end its processes, and a process that waits
    in a collective could not handle them in time.
    """
    for number in (signal.SIGINT,) if under_torchrun() else STOP_SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, interrupt)


def is_ignored(number: int) -> bool:
    """Return whether a signal is ignored, or handled by a library in C, and has to stay so."""
    return signal.getsignal(number) in (signal.SIG_IGN, None)


def under_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def leave_signals_to_parent() -> None:
    """Ignore the signals that ask to stop, in a process that its parent ends.

    A service manager or a job queue sends them to all processes of a job. SIGXCPU keeps its default, since the parent
    limits the CPU time.
    """
    for number in STOP_SIGNALS:
        if number != getattr(signal, "SIGXCPU", None):
            signal.signal(number, signal.SIG_IGN)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt the main thread; end the process at once while a command still imports its dependencies.

    The command has not started then, and an exception may not pass through an import: extensions in C++ abort, or turn
    it into another error.

    Raises:
        KeyboardInterrupt: The command has started.
    """
    if _importer(frame).startswith(STARTERS):
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _importer(frame: FrameType | None) -> str:
    """Return the name of the module whose import statement is the outermost running one; empty if none is running."""
    importer = ""
    while frame is not None:
        below = frame.f_back
        if frame.f_code.co_filename.startswith("<frozen importlib") and below is not None:
            importer = str(below.f_globals.get("__name__", ""))
        frame = below
    return importer
