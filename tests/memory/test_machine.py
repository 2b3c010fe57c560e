"""Free memory of this machine: the part of it that a job uses by default."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from support.fake_cuda import CudaMachine, cuda_machine

from fitcli.device.allocator import CONTEXT_BYTES
from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.errors import OutOfMemory
from fitcli.memory import machine

CPU, CUDA = choose_runtime("cpu"), Runtime(torch.device("cuda", 0), "bf16")


def test_the_default_budget_is_a_fraction_of_free_memory() -> None:
    free = machine.available_bytes()
    assert 0 < machine.default_budget(CPU) < free * 0.6
    assert machine.host_budget(CPU) is None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    with cuda_machine(monkeypatch) as made:
        yield made


def test_a_device_has_its_own_memory(cuda: CudaMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda.free, cuda.reserved, cuda.allocated = 600, 2400, 2000
    monkeypatch.setattr(machine, "available_bytes", lambda: 600)
    assert (machine.free_bytes(CUDA), machine.host_budget(CUDA)) == (1000, 300)
    assert (machine.free_bytes(CPU), machine.default_budget(CPU), machine.default_budget(CPU, 100)) == (600, 300, 300)


def test_weights_and_context_that_are_there_count_once(cuda: CudaMachine) -> None:
    """A plan counts them, and they are not free any more: the budget is all that the job takes."""
    cuda.free, cuda.reserved, cuda.allocated = 8 << 30, 3 << 30, 2 << 30
    assert machine.default_budget(CUDA, 2 << 30) == int(0.9 * (9 << 30)) + (2 << 30) + CONTEXT_BYTES
    assert machine.default_budget(CUDA) == int(0.9 * (9 << 30)) + CONTEXT_BYTES


def test_a_plan_takes_all_free_memory_rather_than_fail(cuda: CudaMachine) -> None:
    cuda.free, cuda.reserved, cuda.allocated = 1000, 0, 0
    budgets: list[int] = []

    def plan(budget: int) -> str:
        budgets.append(budget)
        if budget < CONTEXT_BYTES + 1010:
            raise OutOfMemory("too little")
        return "a plan"

    assert machine.plan_within(CUDA, plan, weights_bytes=10) == "a plan"
    assert budgets == [CONTEXT_BYTES + 910, CONTEXT_BYTES + 1010]
    with pytest.raises(OutOfMemory):
        machine.plan_within(CUDA, plan, memory_bytes=CONTEXT_BYTES + 1000)
    assert budgets[2:] == [CONTEXT_BYTES + 1000], "a limit of the user is not exceeded"
