"""The step before the first loads what a step loads, and leaves the random state as it is."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fitcli.device.runtime import choose_runtime
from fitcli.tasks.registry import train_settings
from fitcli.training.warm_up import warm_up


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_random_state_stays(precision: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    warm_up(choose_runtime("cpu", precision), train_settings())
    assert torch.equal(torch.get_rng_state(), before)


CODE = """
import sys
from fitcli.device.runtime import choose_runtime
from fitcli.tasks.registry import train_settings
from fitcli.training.warm_up import warm_up
from fitcli.process.resident import resident_bytes
before = resident_bytes()
warm_up(choose_runtime("cpu", "fp32"), train_settings())
first = resident_bytes()
for _ in range(3):
    warm_up(choose_runtime("cpu", "fp32"), train_settings())
print(first - before, resident_bytes() - first, "torch._dynamo" in sys.modules)
"""


def test_libraries_are_loaded_once() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    loaded, again, imported = done.stdout.split()
    assert int(loaded) > 16 << 20, "the optimizer imports modules, and matrix products have a library"
    assert 2 * int(again) < int(loaded)
    assert imported == "True"
