"""Resident bytes of this process, as the system counts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fitcli.process import resident
from fitcli.process.resident import resident_bytes


def test_the_readings_follow_an_allocation() -> None:
    # In a new process: one that has just freed memory need not grow.
    code = (
        "from fitcli.process.resident import resident_bytes as now; before = now(); data = bytearray(64 << 20); "
        "data[::4096] = b'x' * len(data[::4096]); print(before, now(), now('VmHWM'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, now, peak = map(int, done.stdout.split())
    assert before + 0.9 * (64 << 20) <= now <= peak


def test_other_systems_do_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "STATUS", tmp_path / "nothing")
    assert resident_bytes() is None
