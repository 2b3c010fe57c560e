"""Ctrl-C, SIGTERM and a time limit as wishes that the loop sees between two steps, instead of exceptions anywhere."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum


class Stop(IntEnum):
    """Why a run is to stop before its end; of several reasons the greatest counts."""

    NEVER = 0
    TIME = 1
    REQUEST = 2


class TimeIsOver(Exception):
    """A run has used up its time. It was saved and can be resumed: nothing went wrong."""


class Interruption:
    """Whether a process is to stop: someone asked it to, or its time is over.

    Args:
        heard: Called once, as soon as someone asks.
        deadline: Until when it may go on, as `time.monotonic` counts.
    """

    def __init__(self, heard: Callable[[], None], deadline: float = math.inf) -> None:
        self.requested, self._heard, self._deadline = False, heard, deadline

    def reason(self) -> Stop:
        """Why to stop now."""
        if self.requested:
            return Stop.REQUEST
        return Stop.NEVER if time.monotonic() < self._deadline else Stop.TIME

    def request(self) -> None:
        """Ask for a stop; asking twice does not wait."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._heard()


@contextmanager
def interruptions(heard: Callable[[], None], deadline: float = math.inf) -> Iterator[Interruption]:
    """Catch SIGINT and SIGTERM while the context lasts. Outside the main thread nothing can be caught."""
    interruption = Interruption(heard, deadline)
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: interruption.request()) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
