"""Memory that runs out is one run more with half as much, then one line; every other error passes."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest
import torch
from support.fake_cuda import cuda_machine

from fitcli.errors import FitError, OutOfMemory, OverLimit
from fitcli.memory.retry import RestartableProgress, one_line, with_less

CPU = torch.device("cpu")

EXHAUSTED = [MemoryError(), torch.OutOfMemoryError("CUDA out of memory."), OutOfMemory("no room for tokens at rest")]

OTHERS = [RuntimeError("shapes differ"), FitError("bad"), KeyError("x"), torch.AcceleratorError("CUDA error: illegal")]


def failing(amounts: list[int], failures: list[Exception]) -> object:
    def run(amount: int) -> str:
        amounts.append(amount)
        if len(amounts) <= len(failures):
            raise failures[len(amounts) - 1]
        return f"done with {amount}"

    return run


@pytest.mark.walk(3)
@pytest.mark.parametrize("error", EXHAUSTED, ids=str)
@pytest.mark.parametrize(("amount", "failures", "seen"), [(9, 0, [9]), (9, 1, [9, 4]), (2, 1, [2, 1])])
def test_a_run_with_half_as_much_follows(error: Exception, amount: int, failures: int, seen: list[int]) -> None:
    amounts: list[int] = []
    assert with_less(CPU, failing(amounts, [error] * failures), amount) == f"done with {seen[-1]}"  # type: ignore[arg-type]
    assert amounts == seen


@pytest.mark.walk(2)
@pytest.mark.parametrize("error", EXHAUSTED, ids=str)
@pytest.mark.parametrize(("amount", "seen"), [(9, [9, 4]), (1, [1])])
def test_the_last_failure_is_one_line(error: Exception, amount: int, seen: list[int]) -> None:
    amounts: list[int] = []
    with pytest.raises(OutOfMemory) as raised:
        with_less(CPU, failing(amounts, [error] * 2), amount)  # type: ignore[arg-type]
    assert amounts == seen
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is raised.value.__context__ is None, "tensors of the traceback stay alive"


@pytest.mark.parametrize("error", OTHERS, ids=str)
def test_other_errors_pass(error: Exception, tmp_path: Path) -> None:
    for failures in ([error], [MemoryError(), error]):
        amounts: list[int] = []
        with pytest.raises(type(error)) as raised:
            with_less(CPU, failing(amounts, failures), 4)  # type: ignore[arg-type]
        assert raised.value is error
        assert len(amounts) == len(failures)
    with pytest.raises(type(error)) as raised, one_line(tmp_path):
        raise error
    assert raised.value is error


def test_what_filled_the_memory_is_freed_before_the_second_run(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[torch.Tensor]] = []
    with cuda_machine(monkeypatch) as machine:

        def run(amount: int) -> int:
            if held:
                return machine.emptied
            tensor = torch.empty(1)
            held.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("CUDA out of memory.")

        assert with_less(torch.device("cuda", 0), run, 2) == 1
    assert held[0]() is None


@pytest.mark.parametrize("error", EXHAUSTED, ids=str)
def test_the_line_names_the_image_once(error: Exception) -> None:
    path = Path("a.tif")
    with pytest.raises(OutOfMemory, match=r"^a\.tif: ") as raised, one_line(path), one_line(path):
        raise error
    assert str(raised.value).count("a.tif") == 1
    with pytest.raises(OutOfMemory, match=r"^(out of memory on|no room)"), one_line():
        raise error


def test_progress_is_taken_back() -> None:
    shares: list[float] = []
    progress = RestartableProgress(shares.append)
    progress.restart()
    progress(0.25)
    progress(0.5)
    progress.restart()
    progress(1.0)
    assert shares == [0.25, 0.5, -0.75, 1.0]


def test_an_image_beyond_the_limit_says_what_it_needs() -> None:
    with pytest.raises(OverLimit, match=r"^a.png: too large$") as raised, one_line(Path("a.png")):
        raise OverLimit("too large", 77)
    assert raised.value.needed_bytes == 77
