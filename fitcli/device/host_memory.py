"""Counts the host memory of this process beyond Python with torch: what `--memory` bounds if a CPU computes."""

from __future__ import annotations

import torch  # noqa: F401

from fitcli.process.resident import Reading, resident_bytes

WITH_TORCH = resident_bytes()
"""Resident bytes when torch was imported, before anything else of fit that imports it; None if unknown."""


def bytes_beyond_torch(reading: Reading = "VmRSS") -> int | None:
    """Return the resident bytes beyond Python with torch, now or at their peak; None on systems without /proc."""
    resident = resident_bytes(reading)
    return None if resident is None or WITH_TORCH is None else max(0, resident - WITH_TORCH)
