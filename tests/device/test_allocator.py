"""Memory of a CUDA device is what the allocator can have, and `--memory` is its end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch
from support.fake_cuda import CudaMachine, cuda_machine

from fitcli.device import allocator
from fitcli.device.allocator import CONTEXT_BYTES, SETTINGS, VARIABLES, free_bytes, limit_memory, release_unused
from fitcli.device.runtime import choose_runtime, claim_device

CUDA, GIB = torch.device("cuda", 0), 1 << 30


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    with cuda_machine(monkeypatch) as made:
        yield made


def test_what_the_allocator_keeps_for_reuse_is_free(machine: CudaMachine) -> None:
    machine.free, machine.reserved, machine.allocated = GIB, 14 * GIB, 2 * GIB
    assert free_bytes(CUDA) == 13 * GIB
    machine.allocated = 14 * GIB
    assert free_bytes(CUDA) == GIB


def test_a_limit_holds_for_what_is_free_and_for_the_context(machine: CudaMachine) -> None:
    limit_memory(CUDA, 8 * GIB)
    assert machine.fraction == pytest.approx((8 * GIB - CONTEXT_BYTES) / machine.total)
    assert free_bytes(CUDA) == pytest.approx(8 * GIB - CONTEXT_BYTES - machine.allocated, abs=1)
    machine.allocated = 9 * GIB
    assert free_bytes(CUDA) == 0


@pytest.mark.parametrize(("memory", "fraction"), [(400 << 20, (200 << 20) / (16 << 30)), (1 << 50, 1.0)])
def test_any_limit_is_a_fraction(machine: CudaMachine, memory: int, fraction: float) -> None:
    limit_memory(CUDA, memory)
    assert machine.fraction == pytest.approx(fraction)


def test_memory_of_the_command_line_is_the_limit(machine: CudaMachine) -> None:
    choose_runtime("cuda")
    assert machine.fraction == 1.0
    choose_runtime("cuda", memory_bytes=4 * GIB)
    assert machine.fraction == pytest.approx((4 * GIB - CONTEXT_BYTES) / machine.total)


@pytest.mark.parametrize("start", [lambda: choose_runtime("auto"), lambda: claim_device("cuda", 0, 1)])
@pytest.mark.parametrize(("version", "name"), [("2.13.0+cu130", VARIABLES[0]), ("2.8.1", VARIABLES[1])])
def test_segments_grow_before_the_device_is_touched(
    machine: CudaMachine, monkeypatch: pytest.MonkeyPatch, start: object, version: str, name: str
) -> None:
    seen: list[str | None] = []

    def first_call() -> bool:
        seen.append(os.environ.get(name))
        return True

    monkeypatch.setattr(torch.cuda, "is_available", first_call)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(allocator.torch, "__version__", version)
    assert callable(start)
    start()
    assert seen[0] == SETTINGS
    assert not set(VARIABLES) - {name} & set(os.environ)


@pytest.mark.parametrize("name", VARIABLES)
def test_settings_of_the_user_stay(machine: CudaMachine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "backend:cudaMallocAsync")
    choose_runtime("cuda")
    assert {each: os.environ.get(each) for each in VARIABLES if each in os.environ} == {name: "backend:cudaMallocAsync"}


def test_only_a_cuda_device_has_a_cache_to_give_back(machine: CudaMachine) -> None:
    release_unused(torch.device("cpu"))
    assert machine.emptied == 0
    release_unused(CUDA)
    assert machine.emptied == 1
