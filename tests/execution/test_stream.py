"""A streamed step releases its stores, and gives the same bits from each kind of store."""

from __future__ import annotations

import itertools

import pytest
import torch
from support.steps import CONFIGS, Step, assert_same_gradients
from torch import Tensor

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.streaming.token_store import MemoryStore
from fitcli.tasks.classify.step import classification_job
from models.real_tokens import RealTokens


@pytest.mark.parametrize("name", ["classifier", "decoder"])
def test_stores_give_the_same_bits(name: str) -> None:
    step = Step(CONFIGS[name], "ragged", torch.float32)
    gradients = []
    for store in ("device", "host", "disk"):
        run_job(step.job(), ExecutionPlan(kind="stream", handful=2, store=store))
        gradients.append(step.gradients())
    for other in gradients[1:]:
        assert_same_gradients(other, gradients[0], 0)


class RecordedStore(MemoryStore):
    """Records whether it was closed, and the largest slice that was read."""

    opened: list[RecordedStore]
    largest = 0

    def __init__(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, dtype, device)
        self.closed = False
        self.opened.append(self)

    def get(self, part: slice, fetched: Tensor | None = None) -> Tensor:
        self.largest = max(self.largest, part.stop - part.start)
        return super().get(part)

    def close(self) -> None:
        super().close()
        self.closed = True


class RecordedPlan(ExecutionPlan):
    def open_store(self, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> RecordedStore:
        return RecordedStore(shape, dtype, device)


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[RecordedStore]:
    monkeypatch.setattr(RecordedStore, "opened", [], raising=False)
    return RecordedStore.opened


def test_stores_are_released(stores: list[RecordedStore]) -> None:
    step = Step(CONFIGS["classifier of many segments"])
    run_job(step.job(), RecordedPlan(kind="stream", handful=2))
    assert len(stores) == 2
    assert all(store.closed and store.largest == 2 for store in stores)


@pytest.mark.parametrize("calls", [0, 3, 8, 13])
def test_an_error_at_any_time_releases_the_stores(calls: int, stores: list[RecordedStore]) -> None:
    """The step embeds 8 times in the forward pass, and 8 times when it replays the first segment."""
    step = Step(CONFIGS["classifier of many segments"], "whole")
    left = itertools.count(calls, -1)

    def broken(part: slice, real: RealTokens) -> Tensor:
        if next(left) == 0:
            raise OSError("the reader fails")
        return step.packed(part, real)

    job = classification_job(step.model, step.groups, broken, step.cross_entropy)
    with pytest.raises(OSError, match="the reader fails"):
        run_job(job, RecordedPlan(kind="stream", handful=1))
    assert all(store.closed for store in stores)
    assert len(stores) == (2 if calls >= 8 else int(calls > 0))
    # A failed replay must not disturb the next step.
    step.gradients()
    step.plain().backward()
    expected = step.gradients()
    run_job(step.job(), ExecutionPlan(kind="stream", handful=1))
    assert_same_gradients(step.gradients(), expected, 1e-9)
