"""The meter of fake steps: live bytes against sizes by hand, operations against those of the formula."""

from __future__ import annotations

import gc

import pytest
import torch
from support.real_step import ROUNDING, Away, Meter, ShapeOnlyStore, simulate_step
from torch._subclasses.fake_tensor import FakeTensorMode

from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.registry import DEFAULT_TASK, find_task
from models.presets import classifier_preset


def test_live_bytes_and_their_peak() -> None:
    with FakeTensorMode(), Meter() as meter:
        first = torch.empty(1000)
        assert meter.live == 4096, "4000 bytes, rounded up"
        second = torch.empty(1, dtype=torch.uint8)
        assert meter.live == 4096 + ROUNDING
        view = first.view(10, 100)
        assert meter.live == 4096 + ROUNDING, "a view takes no memory"
        del first
        gc.collect()
        assert meter.live == 4096 + ROUNDING, "the view keeps the storage alive"
        del view, second
        gc.collect()
        assert (meter.live, meter.peak) == (0, 4096 + ROUNDING)


def test_ignored_tensors_and_products() -> None:
    with FakeTensorMode():
        weight = torch.empty(64, 32)
        with Meter([weight]) as meter:
            product = torch.empty(8, 64) @ weight
            assert meter.peak == (8 * 64 + 8 * 32) * 4
            assert meter.flops == 2 * 8 * 64 * 32
            assert product.shape == (8, 32)


def test_attention() -> None:
    """Two products of 2 operations per multiplication; two and a half times as many backward."""
    shape = (3, 2, 40, 16)
    forward = 2 * 2 * 3 * 2 * 40 * 40 * 16
    with FakeTensorMode(), Meter() as meter:
        query, key, value = (torch.empty(shape, requires_grad=True) for _ in range(3))
        result = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        assert meter.flops == forward
        result.sum().backward()
        assert meter.flops == pytest.approx(3.5 * forward)


def test_a_store_counts_and_holds_nothing() -> None:
    store = ShapeOnlyStore((6, 4, 8), torch.float32, torch.device("cpu"), Away())
    store.put(slice(0, 2), torch.zeros(2, 4, 8))
    assert store.get(slice(1, 4)).shape == (3, 4, 8)


@pytest.mark.more
def test_a_streamed_step_stores_tokens_elsewhere() -> None:
    config = classifier_preset("tiny", 3, 2)
    plain, stream = (
        simulate_step(find_task(DEFAULT_TASK), config, 1, (3, 2), ExecutionPlan(kind=kind, handful=1), "fp32")
        for kind in ("plain", "stream")
    )
    assert plain.away_bytes == 0
    assert stream.away_bytes == (len(config.segments) - 1) * 6 * config.tokens * config.token_width * 4
    assert stream.peak_bytes < plain.peak_bytes
    assert stream.flops > plain.flops
