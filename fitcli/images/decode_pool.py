"""Threads that decode chunks: one pool per process, shared by all open images. Decoding releases the GIL.

Knows nothing of chunks; it runs a job for each item of a list.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

MAX_WORKERS = 16


def usable_cores() -> int:
    """Cores this process may run on, at most `MAX_WORKERS`."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    return min(count, MAX_WORKERS)


def run_all(job: Callable[[T], object], items: Sequence[T], at_once: int = MAX_WORKERS) -> None:
    """Run `job(item)` for each item on all cores, at most `at_once` (or one) at a time; return when all are done.

    The calling thread works too, so that a busy pool slows a call down but never blocks it.

    Raises:
        Whatever a job raises first; items not yet begun are dropped.
    """
    helpers = min(len(items), usable_cores(), at_once) - 1
    if helpers < 1:
        for item in items:
            job(item)
        return
    remaining = iter(items)  # all threads draw from it; next() of a list iterator is atomic

    def work() -> None:
        try:
            for item in remaining:
                job(item)
        except BaseException:
            for _ in remaining:
                pass
            raise

    futures = [_shared_pool().submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        started = [future for future in futures if not future.cancel()]
        errors = [future.exception() for future in started]
    for error in errors:
        if error is not None:
            raise error


_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(usable_cores() - 1, 1), thread_name_prefix="fit-decode")
        return _pool


def _forget_pool() -> None:
    """In a forked child: the threads did not come along, and the lock may be held by one of them."""
    global _pool, _pool_lock
    _pool = None
    _pool_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
