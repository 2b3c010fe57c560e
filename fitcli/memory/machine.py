"""Returns how much memory a job uses by default."""

from __future__ import annotations

import torch

from fitcli.device.runtime import Runtime
from fitcli.process import limits

HOST_FRACTION = 0.5
"""Fraction of the free host memory that a job uses without `--memory`."""

DEVICE_FRACTION = 0.9
"""Fraction of the free memory of a device that a job uses; the rest is for fragments and for other processes."""


def default_budget(runtime: Runtime) -> int:
    """Return the bytes that a job uses on its device without `--memory`."""
    return int(free_bytes(runtime) * (DEVICE_FRACTION if runtime.device.type == "cuda" else HOST_FRACTION))


def free_bytes(runtime: Runtime) -> int:
    """Return the free bytes of the device."""
    if runtime.device.type == "cuda":
        return torch.cuda.mem_get_info(runtime.device)[0]
    return available_bytes()


def host_budget(runtime: Runtime) -> int | None:
    """Return the bytes of host memory that a job may use beside a device; None if the device is the host."""
    return int(available_bytes() * HOST_FRACTION) if runtime.device.type == "cuda" else None


def available_bytes() -> int:
    """Return the bytes of host memory that are free without swapping and within the limits of this process."""
    return limits.available_bytes()
