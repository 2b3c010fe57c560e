"""Hands strips from a pass, which gives them, to a function that takes them from an iterator, in another thread."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

R = TypeVar("R")

WAITING = 2
"""Number of strips that wait at most."""

CHECK_SECONDS = 0.1
"""Seconds after which a full queue looks whether the function has failed."""

END = object()
"""Last item of the queue."""


class StripQueue(Generic[R]):
    """Calls a function with an iterator over what is put here. Use it as a context manager, and take `result` within.

    Args:
        function: Called in another thread with the iterator.
    """

    def __init__(self, function: Callable[[Iterable[Any]], R]) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(WAITING)
        self._pool = ThreadPoolExecutor(1, "strips")
        self._future: Future[R] = self._pool.submit(function, self._items())

    def put(self, item: Any) -> None:
        """Hand over an item. Raises the exception of the function if it has failed."""
        while True:
            if self._future.done():
                # It ends before the end of the items only with an exception.
                self._future.result()
                return
            with suppress(queue.Full):
                self._waiting.put(item, timeout=CHECK_SECONDS)
                return

    def result(self) -> R:
        """Tell the function that there are no more items, and return its result."""
        self.put(END)
        return self._future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error nobody has put the last item yet.
        while not self._future.done():
            with suppress(queue.Full):
                self._waiting.put(END, timeout=CHECK_SECONDS)
                break
        self._pool.shutdown()

    def _items(self) -> Iterator[Any]:
        while (item := self._waiting.get()) is not END:
            yield item
