"""Resident bytes of this process, as the system counts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.process import resident
from fitcli.process.resident import resident_bytes


def test_the_readings_follow_an_allocation() -> None:
    before, size = resident_bytes(), 64 << 20
    assert before is not None
    data = bytearray(size)
    data[::4096] = b"x" * len(data[::4096])
    now, peak = resident_bytes(), resident_bytes("VmHWM")
    assert now is not None
    assert peak is not None
    assert before + size * 0.9 <= now <= peak


def test_other_systems_do_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resident, "STATUS", tmp_path / "nothing")
    assert resident_bytes() is None
