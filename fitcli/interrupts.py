"""Ctrl-C, SIGTERM and SIGHUP: a `KeyboardInterrupt`, after which nothing half-written stays. Standard library only."""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130
"""Exit code of what was interrupted: 128 + SIGINT, as shells have it."""

BEGINNERS = ("fitcli.__main__", "__main__", "fitcli.app", "fitcli.commands.")
"""Beginnings of the names of modules that import what a command needs before it begins anything."""


def catch_interrupts() -> None:
    """End in good order, whoever asks: also what ends a job of a queue, or that of a terminal that is closed.

    torchrun ends its processes itself, and one that waits for the others in an exchange would not hear of it in time.
    What is ignored stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    for number in () if "TORCHELASTIC_RUN_ID" in os.environ else (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Interrupt what the main thread does; end the process at once where a command still imports what it needs.

    Nothing has been begun then, and an exception does not get out of everything that imports: extensions in C++ abort,
    or make another error of it.

    Raises:
        KeyboardInterrupt: The command has begun.
    """
    if _importer(frame).startswith(BEGINNERS):
        os._exit(INTERRUPTED)
    raise KeyboardInterrupt


def _importer(frame: FrameType | None) -> str:
    """Name of the module with the outermost import statement that is under way; empty where there is none."""
    importer = ""
    while frame is not None:
        below = frame.f_back
        if frame.f_code.co_filename.startswith("<frozen importlib") and below is not None:
            importer = str(below.f_globals.get("__name__", ""))
        frame = below
    return importer
