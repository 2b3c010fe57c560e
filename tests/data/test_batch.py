"""Batches arrive on a device with their own pixels, in any order of its streams. The device is `fake_cuda`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from support.fake_cuda import DEVICE, FakeCuda, fake_cuda
from torch import Tensor

from fitcli.data.batch import Arrivals, Batch
from fitcli.tasks.class_targets import ClassLabels
from models.groups import Groups

SEEDS = range(12)


@pytest.fixture(params=SEEDS)
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with fake_cuda(monkeypatch, request.param) as device:
        yield device


def batches(count: int) -> list[Batch]:
    """Return batches of one image of two groups; each has the next one as `following`."""
    made = [
        Batch(
            patches=torch.full((2, 64, 48), number, dtype=torch.uint8),
            groups=Groups.of_grid(1, 1, 2),
            target=ClassLabels(torch.tensor([number])),
            gain=torch.ones(2, 1, 1),
            shift=torch.zeros(2, 1, 1),
        ).pinned(DEVICE)
        for number in range(count)
    ]
    known = dict(enumerate(made))
    return [replace(batch, following=lambda n=number: known.get(n + 1)) for number, batch in known.items()]


@pytest.mark.parametrize("reads", [1, 4])
def test_each_pass_sees_its_own_pixels_and_at_most_two_batches_are_there(cuda: FakeCuda, reads: int) -> None:
    """This holds also if the host queues several passes before it reads their results."""
    arrivals, results = Arrivals(DEVICE, ahead=True), list[Tensor]()
    for number, read in enumerate(given := batches(8)):
        batch = arrivals.bring(read, pixels=True)
        results.append(
            cuda.launch(lambda patches, label: patches.amax()[None] + label, batch.patches, batch.target.numbers)
        )
        del batch
        arrivals.begin(read.following())
        if number % reads == reads - 1:
            assert [int(cuda.values(one)) for one in results] == [2 * n for n in range(number + 1 - reads, number + 1)]
            results.clear()
    assert cuda.most < 2.5 * given[0].patches.nbytes


def test_the_next_pixels_arrive_while_a_pass_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cuda(monkeypatch) as cuda:
        arrivals, given = Arrivals(DEVICE, ahead=True), batches(2)
        batch = arrivals.bring(given[0], pixels=True)
        cuda.run_until(lambda: not cuda.current.ready())
        monkeypatch.setattr(cuda, "some", lambda: None)
        result = cuda.launch(torch.sum, batch.patches)
        arrivals.begin(given[0].following())
        sending = arrivals._begun
        assert sending is not None
        # Only the streams that copy run.
        others = [stream for stream in cuda.streams if stream is not cuda.current]
        cuda.run_until(lambda: not any(stream.ready() for stream in others), others)
        assert torch.equal(sending.values, given[1].patches)
        assert int(result) == 99, "the result is still garbage: it has not been computed"


def test_pixels_that_stay_on_the_host_are_sent_slice_by_slice(cuda: FakeCuda) -> None:
    arrivals = Arrivals(DEVICE, ahead=True)
    for number, read in enumerate(batches(4)):
        batch = arrivals.bring(read, pixels=False)
        assert batch.patches is read.patches
        results = [cuda.launch(torch.clone, batch.part(slice(n, n + 1))) for n in range(2)]
        assert all(torch.equal(cuda.values(one), read.patches[:1]) for one in results)
        waits = cuda.waits
        arrivals.begin(None)
        assert cuda.waits == waits, number


def test_a_batch_without_a_copy_in_flight_is_brought_all_the_same(cuda: FakeCuda) -> None:
    """After a step ran out of memory the same batch comes again, and from then on one batch at a time."""
    given = batches(3)
    arrivals = Arrivals(DEVICE, ahead=True)
    arrivals.bring(given[0], pixels=True)
    arrivals.begin(given[1])
    again = arrivals.bring(given[0], pixels=True)
    assert torch.equal(cuda.values(again.patches), given[0].patches)
    arrivals.stop()
    arrivals.begin(given[1])
    assert torch.equal(cuda.values(arrivals.bring(given[1], pixels=True).patches), given[1].patches)


def test_without_room_pixels_come_one_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_cuda(monkeypatch) as cuda:
        given, arrivals = batches(2), Arrivals(DEVICE, ahead=True)
        first = arrivals.bring(given[0], pixels=True)
        plainly = cuda.to

        def full(tensor: Tensor, *args: object, **kwargs: object) -> Tensor:
            if cuda.current is not cuda.streams[0]:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return plainly(tensor, *args, **kwargs)

        monkeypatch.setattr(cuda, "to", full)
        arrivals.begin(given[1])
        del first
        assert torch.equal(cuda.values(arrivals.bring(given[1], pixels=True).patches), given[1].patches)


@pytest.mark.gpu
@pytest.mark.parametrize("ahead", [False, True])
def test_a_real_device_sees_the_same_pixels(ahead: bool) -> None:
    """The device is busy meanwhile. The pixels of at most two batches are on it."""
    count, size = 12, (4, 2048, 2048)
    rng = torch.Generator().manual_seed(0)
    given = [
        replace(batch, patches=torch.randint(0, 256, size, dtype=torch.uint8, generator=rng).pin_memory())
        for batch in batches(count)
    ]
    weight = torch.randn(4096, 4096, device=DEVICE)
    arrivals, sums = Arrivals(DEVICE, ahead), list[Tensor]()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for number, read in enumerate(given):
        batch = arrivals.bring(read, pixels=True)
        for _ in range(20):
            weight = torch.tanh(weight @ weight)
        sums.append(batch.patches.sum(dtype=torch.int64) + batch.target.numbers[0])
        del batch
        arrivals.begin(given[number + 1] if number + 1 < count else None)
    held = torch.cuda.max_memory_allocated() - before
    assert held < (1 + ahead) * given[0].patches.nbytes + 3 * weight.nbytes
    expected = [int(read.patches.sum(dtype=torch.int64)) + number for number, read in enumerate(given)]
    assert [int(one) for one in sums] == expected
