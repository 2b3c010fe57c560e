"""Ctrl-C and SIGTERM as a wish that the loop sees between two steps, instead of an exception anywhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Whether someone asked the process to stop."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Ask for a stop; asking twice does not wait."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def interruptions() -> Iterator[Interruption]:
    """Catch SIGINT and SIGTERM while the context lasts. Outside the main thread nothing can be caught."""
    interruption = Interruption()
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
