"""The cache of chunks: which chunks are dropped, and safety with threads and forks."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fitcli.images.base import Pixels
from fitcli.images.chunk_cache import LARGEST_BYTES, ChunkCache


def ones(count: int) -> Pixels:
    return np.ones((count, 1, 1), np.uint8)


def test_drops_what_was_used_longest_ago():
    cache = ChunkCache(limit_bytes=10)
    for key in "abc":
        cache.get_or_load(key, lambda: ones(4))
    assert cache.get("a") is None
    cache.get_or_load("b", lambda: ones(99))
    cache.get_or_load("d", lambda: ones(4))
    assert (cache.get("c"), cache.get("b") is None) == (None, False)


def test_keeps_one_chunk_whatever_its_size():
    cache = ChunkCache(limit_bytes=10)
    cache.get_or_load("small", lambda: ones(4))
    cache.get_or_load("large", lambda: ones(40))
    assert cache.get("small") is None
    assert cache.get("large") is not None


def test_grows_with_what_a_window_needs_up_to_a_limit():
    cache = ChunkCache(limit_bytes=10)
    cache.reserve(20)
    assert cache.limit_bytes == 20
    cache.reserve(1 << 40)
    assert cache.limit_bytes == LARGEST_BYTES


def test_threads_load_a_chunk_once():
    cache, loads, started = ChunkCache(), [], threading.Barrier(8)

    def load() -> Pixels:
        loads.append(1)
        return ones(3)

    def get(_: int) -> Pixels:
        started.wait()
        return cache.get_or_load("key", load)

    with ThreadPoolExecutor(8) as pool:
        assert len({id(pixels) for pixels in pool.map(get, range(8))}) == 1
    assert len(loads) == 1


def test_failing_load_is_tried_again():
    cache = ChunkCache()
    with pytest.raises(ZeroDivisionError):
        cache.get_or_load("key", lambda: ones(1 // 0))
    assert cache.get_or_load("key", lambda: ones(2)).shape == (2, 1, 1)


def test_clear_drops_all():
    cache = ChunkCache()
    cache.get_or_load("key", lambda: ones(3))
    cache.clear()
    assert cache.get("key") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_child_does_not_wait_for_a_thread_of_its_parent():
    """The thread that loads a chunk when the process forks does not exist in the child."""
    cache, loading, finish = ChunkCache(), threading.Event(), threading.Event()

    def load() -> Pixels:
        loading.set()
        finish.wait()
        return ones(3)

    thread = threading.Thread(target=cache.get_or_load, args=("key", load))
    thread.start()
    loading.wait()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = int(cache.get_or_load("key", lambda: ones(4)).shape != (4, 1, 1))
        finally:
            os._exit(status)
    finish.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.get_or_load("key", lambda: ones(5)).shape == (3, 1, 1)
