"""Settings and readings of PyTorch's memory allocator on a CUDA device."""

from __future__ import annotations

import gc
import os

import torch

CONTEXT_BYTES = 512 << 20
"""Bytes of a device that a process takes beside its allocator: for its context, kernels and libraries."""

SETTINGS = "expandable_segments:True"
"""Segments grow instead of being allocated per size, so that images of many sizes leave no fragments behind."""

VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Variables of the environment that hold settings of the allocator. PyTorch before 2.9 knows the second alone."""


def torch_release() -> tuple[int, ...]:
    """Return the first two numbers of the version of PyTorch."""
    return tuple(int(number) for number in torch.__version__.split(".")[:2])


def set_up_allocator() -> None:
    """Choose the settings of the allocator, unless the user did. Call it before anything touches a CUDA device."""
    if not any(name in os.environ for name in VARIABLES):
        os.environ[VARIABLES[0] if torch_release() >= (2, 9) else VARIABLES[1]] = SETTINGS


def limit_memory(device: torch.device, memory_bytes: int) -> None:
    """Let this process take at most so many bytes of a CUDA device, what it takes beside the allocator included.

    A request for more raises an OutOfMemoryError, also if the device has more.
    """
    total = torch.cuda.get_device_properties(device).total_memory
    # The weights are loaded before anything is planned: leave them room, so that the plan says what is missing.
    allowed = max(memory_bytes - CONTEXT_BYTES, memory_bytes // 2)
    torch.cuda.set_per_process_memory_fraction(min(1.0, allowed / total), device)


def free_bytes(device: torch.device) -> int:
    """Return the bytes of a CUDA device that this process can still allocate.

    That is what the driver calls free, and what the allocator keeps for reuse, within the limit of `limit_memory`.
    """
    free, total = torch.cuda.mem_get_info(device)
    allocated = torch.cuda.memory_allocated(device)
    free += torch.cuda.memory_reserved(device) - allocated
    # PyTorch 2.7 cannot be asked for the limit.
    fraction = getattr(torch.cuda, "get_per_process_memory_fraction", None)
    if fraction is not None and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        free = min(free, int(fraction(device) * total) - allocated)
    return max(0, free)


def release_unused(device: torch.device) -> None:
    """Give memory that nothing uses any more back to a device, in one piece."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
