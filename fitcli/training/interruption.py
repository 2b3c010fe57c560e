"""Ctrl-C and SIGTERM as a wish that the loop sees between two steps, instead of an exception anywhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interruption:
    """Whether someone asked the process to stop.

    Args:
        heard: Called once, as soon as someone does.
    """

    def __init__(self, heard: Callable[[], None]) -> None:
        self.requested, self._heard = False, heard

    def request(self) -> None:
        """Ask for a stop; asking twice does not wait."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._heard()


@contextmanager
def interruptions(heard: Callable[[], None]) -> Iterator[Interruption]:
    """Catch SIGINT and SIGTERM while the context lasts. Outside the main thread nothing can be caught."""
    interruption = Interruption(heard)
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
