"""Runs decoding jobs in threads: one pool per process, shared by all open images. Codecs release the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fitcli.process.limits import available_cores

T = TypeVar("T")

MAX_WORKERS = 16
"""Largest number of decoding threads."""


def usable_cores() -> int:
    """Return the number of cores that this process may use, at most `MAX_WORKERS`."""
    return min(available_cores(), MAX_WORKERS)


def run_all(job: Callable[[T], object], items: Sequence[T], at_once: int = MAX_WORKERS) -> None:
    """Run `job(item)` for each item on all cores, and return when all are done.

    The calling thread works too: a busy pool slows a call down but never blocks it.

    Args:
        job: Called once per item, from several threads.
        items: Arguments of the jobs.
        at_once: Largest number of jobs that run at the same time; 0 counts as 1.

    Raises:
        Exception: The first error of a job. Items that have not started are dropped.
    """
    helpers = min(len(items), usable_cores(), at_once) - 1
    if helpers < 1:
        for item in items:
            job(item)
        return
    remaining = iter(items)  # shared by all threads: `next` of a list iterator is atomic

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
    """Drop the pool in a forked child: its threads do not exist there, and one of them may hold the lock."""
    global _pool, _pool_lock
    _pool = None
    _pool_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
