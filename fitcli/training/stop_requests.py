"""Turns Ctrl-C, SIGTERM and a time limit into requests that the loop sees between two steps.

So a step is never interrupted by an exception.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum


class StopReason(IntEnum):
    """Why a run stops before its end; of several reasons, the greatest counts."""

    NEVER = 0
    TIME = 1
    REQUEST = 2


class TimeLimitReached(Exception):
    """A run has reached its time limit. No failure: the run was saved and can be resumed."""


class StopRequests:
    """Whether a process should stop: at a user's request, or at the time limit.

    Args:
        on_request: Called once, at the first request.
        deadline: Time limit on the clock of `time.monotonic`.

    Attributes:
        requested: Whether there was a request.
    """

    def __init__(self, on_request: Callable[[], None], deadline: float = math.inf) -> None:
        self.requested, self._on_request, self._deadline = False, on_request, deadline

    def reason(self) -> StopReason:
        """Return why to stop now."""
        if self.requested:
            return StopReason.REQUEST
        return StopReason.NEVER if time.monotonic() < self._deadline else StopReason.TIME

    def request(self) -> None:
        """Request a stop after the current step. A second request raises KeyboardInterrupt at once."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._on_request()


@contextmanager
def catch_stop_requests(on_request: Callable[[], None], deadline: float = math.inf) -> Iterator[StopRequests]:
    """Turn SIGINT and SIGTERM into requests within the context; outside the main thread, signals cannot be caught."""
    requests = StopRequests(on_request, deadline)
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: requests.request()) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
