"""Reads how much memory of this machine is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from fitcli.device.runtime import Runtime

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
    """Return the bytes of host memory that are free without swapping and within the limit of the container."""
    return min([_machine_bytes(), *_container_bytes()])


def _machine_bytes() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Without /proc the free memory is unknown: assume half of the total.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _container_bytes() -> list[int]:
    """Return the bytes left below the limit of the container (cgroup 2); [] without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return [max(int(limit) - int(used), 0)]
    except (OSError, ValueError):
        return []
