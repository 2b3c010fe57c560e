"""What `fit` takes beyond Python with torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fitcli.device import host_memory

CODE = """
from fitcli.app import app
from fitcli.device.runtime import choose_runtime
from fitcli.device.host_memory import WITH_TORCH, bytes_beyond_torch
data = bytearray(64 << 20)
data[::4096] = bytes(len(data[::4096]))
print(WITH_TORCH, bytes_beyond_torch())
"""

BARE = "import torch; from fitcli.process.resident import resident_bytes; print(resident_bytes())"


def printed(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_the_zero_is_python_with_torch() -> None:
    """What the command line imports before torch counts little."""
    (bare,), (zero, beyond) = printed(BARE), printed(CODE)
    assert abs(zero - bare) < 16 << 20
    assert 64 << 20 <= beyond < 110 << 20


def test_a_process_that_returned_memory_has_nothing_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_memory, "WITH_TORCH", 1 << 50)
    assert host_memory.bytes_beyond_torch() == 0
    monkeypatch.setattr(host_memory, "WITH_TORCH", None)
    assert host_memory.bytes_beyond_torch() is None
