"""Processes exchange messages, sum tensors, and fail with the same error."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.processes import run_ranks

from fitcli.data.bad_images import TooManyBadImages
from fitcli.distributed.process_group import processes
from fitcli.distributed.world import ALONE, UnrecoverableRankError, World, totals
from fitcli.errors import DataError, FitError, ImageError


def exchange() -> dict[str, Any]:
    """Everything that a rank receives on a mesh of two by two processes."""
    with processes("cpu", group_parallel=2) as world:
        received: dict[str, Any] = {"place": (world.data.rank, world.groups.rank)}
        received["long"] = [len(text) for text in world.gather("x" * 1000 * world.rank)]
        received["sums"] = world.sums({"a": 0.1 * world.rank, f"only {world.rank}": 1})
        received["first"] = world.broadcast(["of", world.rank])
        received["any"] = [world.any(world.rank == rank) for rank in (3, 4)]
        received["own"] = world.run_on_all(lambda: world.rank)
        tensors = [torch.full((3,), float(world.rank)), torch.ones(2, 2, dtype=torch.float64)]
        world.add_up(tensors, world.groups)
        received["groups"] = [tensor.tolist() for tensor in tensors]
        world.add_up(tensors)
        received["all"] = [tensor.tolist() for tensor in tensors]
        received["errors"] = [raised(world, [1], error) for error in (TooManyBadImages("a"), ImageError("b", "c"))]
        received["lowest"] = raised(world, [2, 3], DataError(f"of {world.rank}"))
        return received


def raised(world: World, ranks: list[int], error: FitError) -> tuple[str, str, bool]:
    """Class, message and `shared` of the error that this rank raises if some ranks raise one."""

    def act() -> None:
        if world.rank in ranks:
            raise error

    with pytest.raises(FitError) as found:
        world.gather_results(act)
    return type(found.value).__name__, str(found.value), found.value.shared


@pytest.mark.distributed
def test_messages_sums_and_errors_of_four_processes() -> None:
    ranks = run_ranks(4, exchange)
    assert [received["place"] for received in ranks] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for rank, received in enumerate(ranks):
        assert received["long"] == [0, 1000, 2000, 3000]
        assert received["sums"] == {"a": 0.1 + 0.2 + 0.3 + 0.0, **{f"only {other}": 1 for other in range(4)}}
        assert received["first"] == ["of", 0]
        assert received["any"] == [True, False]
        assert received["own"] == rank
        pair = 1.0 if rank < 2 else 5.0
        assert received["groups"] == [[pair] * 3, [[2.0] * 2] * 2]
        assert received["all"] == [[12.0] * 3, [[8.0] * 2] * 2]
        assert received["errors"][0] == ("TooManyBadImages", "a", True)
        assert received["errors"][1] == ("ImageError" if rank == 1 else "FitError", "b: c", True)
        assert received["lowest"] == ("DataError", "of 2", True)
    assert issubclass(TooManyBadImages, DataError)


def leave() -> str:
    """End rank 1 while the others wait for it."""
    try:
        with processes("cpu") as world:
            if world.rank == 1:
                return "gone"
            world.gather(None)
    except SystemExit as error:
        return f"exit {error.code}"
    except FitError as error:
        return type(error).__name__
    return "stayed"


@pytest.mark.distributed
def test_a_process_that_is_gone_is_noticed() -> None:
    assert run_ranks(3, leave) == ["PeerLost", "gone", "exit 1"]


def test_one_process_exchanges_nothing() -> None:
    assert ALONE.gather_results(lambda: 3) == [3]
    assert ALONE.broadcast("text") == "text"
    assert ALONE.sums({"a": 0.5}) == {"a": 0.5}
    tensor = torch.ones(2)
    ALONE.add_up([tensor])
    assert tensor.tolist() == [1, 1]
    for error in (DataError("a"), UnrecoverableRankError("b")):
        with pytest.raises(type(error), match=str(error)):
            ALONE.gather_results(lambda error=error: (_ for _ in ()).throw(error))  # type: ignore[misc]


def test_totals_count_a_missing_name_as_zero() -> None:
    assert totals([{"a": 1, "b": 0.5}, {"b": 0.25}, {"c": 2}]) == {"a": 1, "b": 0.75, "c": 2}
