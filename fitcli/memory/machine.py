"""How much memory this machine has to give, right now."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from fitcli.device.runtime import Runtime

HOST_FRACTION = 0.5
"""Of the free memory of the host that a job takes unless it is told otherwise."""

DEVICE_FRACTION = 0.9
"""Of the free memory of a device: the rest is for fragments and for who else draws on it."""


def default_budget(runtime: Runtime) -> int:
    """Bytes that a job may use where it computes."""
    return int(free_bytes(runtime) * (DEVICE_FRACTION if runtime.device.type == "cuda" else HOST_FRACTION))


def free_bytes(runtime: Runtime) -> int:
    """Bytes that are free where a job computes."""
    if runtime.device.type == "cuda":
        return torch.cuda.mem_get_info(runtime.device)[0]
    return available_bytes()


def host_budget(runtime: Runtime) -> int | None:
    """Bytes that a job on a device may use beside it; None where the device has the memory of the host."""
    return int(available_bytes() * HOST_FRACTION) if runtime.device.type == "cuda" else None


def available_bytes() -> int:
    """Of host memory, before anything has to be swapped or the group of this process is at its limit."""
    return min([_of_machine(), *_of_group()])


def _of_machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    # Not Linux: what is free is not told, half of what there is is a guess.
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _of_group() -> list[int]:
    """What the limit of a container leaves (cgroup 2); nothing where there is no limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return [max(int(limit) - int(used), 0)]
    except (OSError, ValueError):
        return []
