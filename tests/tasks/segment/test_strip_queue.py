"""Strips go to a function in another thread: in order, and an error on either side ends both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import pytest

from fitcli.tasks.segment.strip_queue import WAITING, StripQueue

pytestmark = pytest.mark.timeout(600)

MANY = 10 * (WAITING + 2)


def strips_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("strips")]


@pytest.mark.parametrize("count", [0, 1, MANY])
def test_items_arrive_in_order(count: int) -> None:
    with StripQueue[list[int]](list) as strips:
        for number in range(count):
            strips.put(number)
        assert strips.result() == list(range(count))
    assert not strips_threads()


def test_few_items_wait() -> None:
    """Memory is bounded: the producer waits for a slow function."""
    given, most = 0, 0

    def slow(items: Iterable[int]) -> int:
        nonlocal most
        taken = 0
        for _ in items:
            taken += 1
            time.sleep(0.002)
            most = max(most, given - taken)
        return taken

    with StripQueue[int](slow) as strips:
        for number in range(MANY):
            strips.put(number)
            given = number + 1
        assert strips.result() == MANY
    assert most <= WAITING + 1


class Broken(Exception):
    pass


def failing(after: int) -> Callable[[Iterable[int]], None]:
    def fail(items: Iterable[int]) -> None:
        for number in items:
            if number == after:
                raise Broken

    return fail


def put_all(function: Callable[[Iterable[int]], object], count: int = MANY, error: Exception | None = None) -> None:
    """Put numbers, and then fail with an error."""
    with StripQueue[object](function) as strips:
        for number in range(count):
            strips.put(number)
        if error is not None:
            raise error


@pytest.mark.parametrize("after", [0, 3])
def test_an_error_of_the_function_reaches_the_producer(after: int) -> None:
    """Even if it fails while the queue is full."""
    with pytest.raises(Broken):
        put_all(failing(after))
    assert not strips_threads()


def test_an_error_at_the_last_item_reaches_the_result() -> None:
    with StripQueue[None](failing(MANY - 1)) as strips:
        for number in range(MANY):
            strips.put(number)
        with pytest.raises(Broken):
            strips.result()
    assert not strips_threads()


@pytest.mark.parametrize("given", [0, 1, WAITING])
def test_an_error_of_the_producer_ends_the_thread(given: int) -> None:
    """Also while the function works on an item, with a full queue."""
    release = threading.Event()

    def blocked(items: Iterable[int]) -> int:
        release.wait(300)
        return sum(1 for _ in items)

    threading.Timer(0.3, release.set).start()
    with pytest.raises(Broken):
        put_all(blocked, given, Broken())
    assert not strips_threads()


def test_a_function_may_return_before_the_end() -> None:
    with StripQueue[int](lambda items: next(iter(items))) as strips:
        for number in range(MANY):
            strips.put(number)
        assert strips.result() == 0
    assert not strips_threads()
