"""Turns the signals that ask a process to stop, and a time limit, into requests that the loop sees between two steps.

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

from fitcli.interrupts import STOP_SIGNALS, is_ignored, under_torchrun


class StopReason(IntEnum):
    """The reason why a run stops before its end. If there are several, the greatest counts."""

    NEVER = 0
    TIME = 1
    REQUEST = 2


class TimeLimitReached(Exception):
    """A run has reached its time limit. This is no failure: the run was saved and can be resumed."""


class StopRequests:
    """Reports whether a process should stop: at a user's request, or at the time limit.

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

    def request(self, urgent: bool = False) -> None:
        """Request a stop after the current step.

        Args:
            urgent: Whether to raise KeyboardInterrupt at once if this is not the first request.
        """
        if not self.requested:
            self.requested = True
            self._on_request()
        elif urgent:
            raise KeyboardInterrupt


@contextmanager
def catch_stop_requests(on_request: Callable[[], None], deadline: float = math.inf) -> Iterator[StopRequests]:
    """Turn the signals that ask to stop into requests within the context, unless they are ignored.

    A second Ctrl-C stops at once. Other signals only repeat the request: job queues and service managers send them to
    all processes of a job, and torchrun, which gets one too, sends it again. So under torchrun SIGINT is no exception.

    Outside the main thread, signals cannot be caught.
    """
    requests = StopRequests(on_request, deadline)
    if threading.current_thread() is not threading.main_thread():
        yield requests
        return
    at_once = None if under_torchrun() else signal.SIGINT
    numbers = [number for number in STOP_SIGNALS if not is_ignored(number)]
    before = {number: signal.signal(number, lambda each, _: requests.request(each == at_once)) for number in numbers}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
