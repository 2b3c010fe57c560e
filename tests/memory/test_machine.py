"""Free memory of this machine, and the part of it that a job uses by default."""

from __future__ import annotations

from fitcli.device.runtime import choose_runtime
from fitcli.memory import machine


def test_the_default_budget_is_a_fraction_of_free_memory() -> None:
    free = machine.available_bytes()
    assert 0 < machine.default_budget(choose_runtime("cpu")) < free * 0.6
    assert machine.host_budget(choose_runtime("cpu")) is None
