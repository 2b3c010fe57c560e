"""Values of several processes reach the first one in order; `tests/tasks/encoding/test_shared_pass.py` has more."""

from __future__ import annotations

import os

import pytest
import torch
from support.processes import run_ranks

from fitcli.distributed.collection import Collection
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import ALONE, World
from fitcli.errors import FitError
from fitcli.streaming.sweeps import Streaming
from models.groups import span

CPU = torch.device("cpu")


def collected(world: World, count: int, fails_at: int | None = None) -> list[tuple[int, int, float]]:
    """Return what the first process receives of `count` groups: the bounds of each slice and its first value."""
    found: list[tuple[int, int, float]] = []

    def take(part: slice, values: torch.Tensor) -> None:
        assert values.shape == (part.stop - part.start, 2, 3)
        assert values.flatten(1).tolist() == [[number] * 6 for number in range(part.start, part.stop)]
        if part.start == fails_at:
            raise FitError("cannot be taken")
        found.append((part.start, part.stop, float(values[0, 0, 0])))

    collection = Collection(world, count, Streaming(handful=2), CPU, take)
    own = span(count, world.rank, world.size)
    for part in Streaming(handful=3).slices(own.stop - own.start):
        numbers = torch.arange(own.start + part.start, own.start + part.stop, dtype=torch.float64)
        collection.put(part, numbers[:, None, None].expand(-1, 2, 3))
    try:
        collection.finish()
    finally:
        collection.close()
    return found


def test_one_process_takes_its_own() -> None:
    assert collected(ALONE, 4) == [(0, 3, 0.0), (3, 4, 3.0)]


def work(count: int, fails_at: int | None) -> list[tuple[int, int, float]] | str:
    with processes("cpu", int(os.environ["WORLD_SIZE"])) as world:
        try:
            return collected(world, count, fails_at)
        except FitError as error:
            return str(error)


@pytest.mark.distributed
def test_the_first_process_takes_all_in_order() -> None:
    assert run_ranks(3, work, 7, None) == [[(0, 3, 0.0), (3, 5, 3.0), (5, 7, 5.0)], [], []]
    assert run_ranks(3, work, 2, None) == [[(0, 1, 0.0), (1, 2, 1.0)], [], []]
    assert run_ranks(3, work, 7, 3) == ["cannot be taken"] * 3
