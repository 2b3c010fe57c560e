"""Results come in order, and only a few calls run early."""

from __future__ import annotations

import threading

from fitcli.streaming.prefetch import prefetch


def test_prefetching_keeps_the_order_and_runs_no_further_ahead() -> None:
    begun: list[int] = []

    def work(part: slice) -> int:
        begun.append(part.start)
        return part.start

    results = prefetch(work, [slice(i, i + 1) for i in range(10)], ahead=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert max(begun) <= 4
    assert list(results) == list(range(3, 10))


def test_a_single_call_starts_no_thread() -> None:
    assert list(prefetch(lambda part: threading.current_thread(), [slice(0, 1)])) == [threading.current_thread()]
    assert threading.current_thread() not in prefetch(lambda part: threading.current_thread(), [slice(0, 1)] * 2)
