"""Free memory of this machine: the part of it that a job uses by default."""

from __future__ import annotations

import pytest
import torch

from fitcli.device.runtime import Runtime, choose_runtime
from fitcli.memory import machine

CPU = choose_runtime("cpu")


def test_the_default_budget_is_a_fraction_of_free_memory() -> None:
    free = machine.available_bytes()
    assert 0 < machine.default_budget(CPU) < free * 0.6
    assert machine.host_budget(CPU) is None


def test_a_device_has_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Runtime(torch.device("cuda"), "bf16")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    monkeypatch.setattr(machine, "available_bytes", lambda: 600)
    assert (machine.free_bytes(cuda), machine.default_budget(cuda), machine.host_budget(cuda)) == (1000, 900, 300)
    assert (machine.free_bytes(CPU), machine.default_budget(CPU)) == (600, 300)
