"""Turns Ctrl-C, SIGTERM and SIGHUP into a `KeyboardInterrupt`, so that no half-written file stays.

Imports the standard library only.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""Exit code of an interrupted command: 128 + SIGINT, as in shells."""

STARTERS = ("fitcli.__main__", "__main__", "fitcli.app", "fitcli.commands.")
"""Prefixes of the modules that import the dependencies of a command before it starts."""


def catch_interrupts() -> None:
    """Install `interrupt` as the handler of SIGINT, SIGTERM (from a job queue) and SIGHUP (a closed terminal).

    Under torchrun, SIGTERM and SIGHUP keep their default: torchrun sends them to end its processes, and a process that
    waits in a collective could not handle them in time. Signals that are ignored stay ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    for number in () if "TORCHELASTIC_RUN_ID" in os.environ else (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


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
