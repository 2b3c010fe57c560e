"""Copies that run while the device computes are right in any order of its streams. The device is `fake_cuda`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from support.fake_cuda import DEVICE, FakeCuda, fake_cuda
from torch import Tensor

from fitcli.device.transfer import PendingRead, read_together, to_device
from fitcli.streaming.token_store import open_store

SEEDS = range(12)


@pytest.fixture(params=SEEDS)
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with fake_cuda(monkeypatch, request.param) as device:
        yield device


def changed(tokens: Tensor) -> Tensor:
    return tokens * 3 % 17


@pytest.mark.parametrize(("kind", "piece"), [("host", 1 << 26), ("host", 3 * 12), ("disk", 1 << 26)])
def test_tokens_at_rest_are_those_that_were_computed(
    cuda: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, piece: int
) -> None:
    """This holds also for slices of two groups that cross pieces of three groups."""
    monkeypatch.setattr("fitcli.streaming.token_store.PIECE_BYTES", piece)
    tokens = torch.arange(24.0).reshape(8, 3, 1)
    parts = [slice(start, start + 2) for start in range(0, 8, 2)]
    with open_store(kind, (8, 3, 1), torch.float32, DEVICE, tmp_path) as store:  # type: ignore[arg-type]
        for part in parts:
            store.put(part, cuda.launch(torch.clone, tokens[part]))
        # This slice differs from those that were written.
        assert torch.equal(cuda.values(store.get(slice(1, 8))), tokens[1:])
        for _ in range(3):
            for part in parts:
                store.put(part, cuda.launch(changed, store.get(part, store.fetch(part))))
            tokens = changed(tokens)
        for part in parts:
            assert torch.equal(cuda.values(store.get(part)), tokens[part])


def test_a_slice_in_several_pieces_counts_as_one_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the host would wait for the kernels that it has just queued, and no copy would overlap with them."""
    monkeypatch.setattr("fitcli.streaming.token_store.PIECE_BYTES", 12)  # A group each.
    with fake_cuda(monkeypatch) as cuda, open_store("host", (8, 3, 1), torch.float32, DEVICE) as store:
        for part in (slice(0, 4), slice(4, 8)):
            store.put(part, cuda.launch(torch.clone, torch.ones(4, 3, 1)))
        waits = []
        for part in [slice(0, 4), slice(4, 8)] * 3:
            before = cuda.waits
            cuda.launch(changed, store.get(part))
            waits.append(cuda.waits - before)
    assert waits == [0, 0, 1, 1, 1, 1]


def test_pinned_memory_is_not_rounded_up_to_twice_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch rounds each request up to a power of two, so the store makes several."""
    with fake_cuda(monkeypatch) as cuda:
        size = (700, 256, 192)  # 137.6 MB, of groups of 196,608 bytes
        with open_store("host", size, torch.float32, DEVICE):
            requests = [tensor.nbytes for tensor in cuda.pinned()]
    assert sum(requests) == 700 * 256 * 192 * 4
    rounded = sum(1 << (request - 1).bit_length() for request in requests)
    assert rounded < 1.01 * sum(requests)


def test_values_may_be_freed_at_once_and_nobody_waits(cuda: FakeCuda) -> None:
    for number in range(20):
        there = to_device(torch.full((4, 3), float(number)).T, DEVICE)
        result = cuda.launch(torch.clone, there)
        del there
    assert cuda.waits == 0
    assert torch.equal(cuda.values(result), torch.full((3, 4), 19.0))


def test_values_that_are_read_together_are_those_that_are_read_one_by_one() -> None:
    rng = np.random.default_rng(0)
    loss, logits = torch.tensor(rng.normal(), dtype=torch.float32), torch.tensor(rng.normal(size=(2, 3))).bfloat16()
    counts, exact = torch.tensor([2**24, 0, 3]), torch.tensor(rng.normal(), dtype=torch.float64)
    assert read_together([loss, counts, logits, counts[:0]]) == [
        [loss.item()], [2**24, 0, 3], [value.item() for value in logits.flatten()], []
    ]  # fmt: skip
    assert read_together([exact, loss]) == [[exact.item()], [loss.item()]]


def test_a_pending_read_waits_once_and_only_for_earlier_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values are right in any order of the streams. Work that is queued after the read need not be done."""
    late = 0
    for seed in SEEDS:
        with fake_cuda(monkeypatch, seed) as cuda:
            # Like the device that it stands for, which the tensors themselves do not show.
            monkeypatch.setattr("fitcli.device.transfer.runs_ahead", lambda _: True)
            loss, scores = (cuda.launch(changed, torch.full(shape, 7.0)) for shape in ((), (2, 3)))
            read = PendingRead([loss, scores])
            del loss, scores
            done = list[bool]()
            last = cuda.launch(torch.clone, torch.ones(3))
            cuda.current.todo.append(lambda done=done: done.append(True))  # type: ignore[misc]
            assert cuda.waits == 0
            assert read.receive() == [[4.0], [4.0] * 6]
            assert cuda.waits == 1
            late += not done
            assert torch.equal(cuda.values(last), torch.ones(3))
    assert late


def test_a_pending_read_of_a_cpu_has_the_values() -> None:
    assert PendingRead([torch.tensor(2.0), torch.arange(3)]).receive() == [[2.0], [0.0, 1.0, 2.0]]
