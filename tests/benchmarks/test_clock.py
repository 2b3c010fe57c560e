"""A clock adds up the calls of a method, also those that fail."""

from __future__ import annotations

import time

import pytest

from benchmarks.support.clock import Clock


class Work:
    def spin(self, seconds: float, *, fails: bool = False) -> float:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        if fails:
            raise ValueError("failed")
        return seconds


def test_calls_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "spin", Work.spin)
    clock = Clock()
    clock.around(Work, "spin")
    assert Work().spin(0.02) == 0.02
    with pytest.raises(ValueError, match="failed"):
        Work().spin(0.03, fails=True)
    assert clock.cpu >= 0.05
    assert clock.wall > 0
