"""Jobs in the threads of a process: all of them run, within the limit, and errors reach the caller."""

from __future__ import annotations

import os
import threading
import time

import pytest

from fitcli.images import decode_pool
from fitcli.images.decode_pool import MAX_WORKERS, run_all, usable_cores


def test_all_items_are_run_and_errors_come_through():
    done: list[int] = []
    run_all(done.append, range(100))
    assert sorted(done) == list(range(100))
    with pytest.raises(ZeroDivisionError):
        run_all(lambda item: 1 // (item - 50), range(100))


@pytest.mark.parametrize("at_once", [0, 1, 3])
def test_number_of_jobs_at_once_is_limited(monkeypatch: pytest.MonkeyPatch, at_once: int):
    monkeypatch.setattr(decode_pool, "usable_cores", lambda: 8)
    monkeypatch.setattr(decode_pool, "_pool", None)
    lock, running, most = threading.Lock(), 0, 0
    together = threading.Barrier(max(at_once, 1))

    def job(item: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        if item < max(at_once, 1):
            together.wait(240)
        time.sleep(0.005)
        with lock:
            running -= 1

    run_all(job, range(40), at_once)
    assert most == max(at_once, 1)


def test_usable_cores():
    assert 1 <= usable_cores() <= MAX_WORKERS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_child_has_threads_of_its_own():
    run_all(lambda item: None, range(10))
    child = os.fork()
    if child == 0:
        done: list[int] = []
        try:
            run_all(done.append, range(10))
        finally:
            os._exit(int(sorted(done) != list(range(10))))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
