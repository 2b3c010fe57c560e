"""Points in the work of a device, and the time between them."""

from __future__ import annotations

import time

import pytest
import torch
from support.fake_cuda import DEVICE, fake_cuda

from fitcli.device.moment import Moment


@pytest.mark.parametrize("seed", range(4))
def test_the_time_is_that_of_the_work_and_not_that_of_the_host(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The fake device takes a millisecond per kernel and event. Work that is queued later does not count."""
    with fake_cuda(monkeypatch, seed) as cuda:
        first = Moment(DEVICE)
        # All are kept: the fake device also takes time to overwrite freed memory.
        kept = [cuda.launch(torch.clone, torch.ones(2)) for _ in range(5)]
        last = Moment(DEVICE)
        kept.append(cuda.launch(torch.clone, torch.ones(2)))
        assert cuda.waits == 0
        assert last.seconds_since(first) == pytest.approx(6e-3)
        assert cuda.waits == 1


def test_a_cpu_has_the_clock_of_the_host() -> None:
    first = Moment(torch.device("cpu"))
    time.sleep(0.05)
    assert 0.05 <= Moment(torch.device("cpu")).seconds_since(first) < 5
