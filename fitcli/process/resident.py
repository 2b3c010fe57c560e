"""Reads how much memory this process has in use: resident bytes, now and at their peak.

Imports the standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

STATUS = Path("/proc/self/status")
"""File in which Linux says what a process takes."""

Reading = Literal["VmRSS", "VmHWM"]
"""Resident bytes now, or the most so far. Unlike `ru_maxrss`, the second leaves out the process before `exec`."""


def resident_bytes(reading: Reading = "VmRSS") -> int | None:
    """Return the resident bytes of this process; None on systems without /proc."""
    try:
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{reading}:")), None)
