"""Calls a function for one slice of the groups after another, ahead of time, in another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

AHEAD = 2
"""Number of handfuls that are read while one is computed."""


def prefetch(
    function: Callable[[slice], T], arguments: Sequence[slice], ahead: int = AHEAD
) -> Generator[T, None, None]:
    """Yield the results of `function` for all arguments, in order. Another thread runs up to `ahead` calls early.

    An exception of the function is raised here, in place of its result. Close the generator if you stop early: that
    drops the calls that have not begun, and ends the thread. With `ahead` 0 the function runs in this thread, as does
    a single call, which has nothing to run beside.
    """
    if ahead == 0 or len(arguments) == 1:
        yield from map(function, arguments)
        return
    with ThreadPoolExecutor(1, "prefetch") as pool:
        pending = deque(pool.submit(function, argument) for argument in arguments[:ahead])
        try:
            for following in [*arguments[ahead:], *[None] * len(pending)]:
                result = pending.popleft().result()
                if following is not None:
                    pending.append(pool.submit(function, following))
                yield result
        finally:
            for future in pending:
                future.cancel()
