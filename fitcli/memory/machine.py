"""Returns how much memory a job uses, with and without a limit of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fitcli.device import allocator
from fitcli.device.runtime import Runtime
from fitcli.errors import FitError
from fitcli.process import limits

T = TypeVar("T")

HOST_FRACTION = 0.5
"""Fraction of the free host memory that a job uses without `--memory`."""

DEVICE_FRACTION = 0.9
"""Fraction of the free memory of a device that a job uses; the rest is for fragments and for other processes."""


def plan_within(
    runtime: Runtime, plan: Callable[[int], T], memory_bytes: int | None = None, weights_bytes: int = 0
) -> T:
    """Plan within a limit, or within a share of the free memory; within all of it if the share is too small.

    Args:
        runtime: Device and precision.
        plan: Plans within a number of bytes: all that the job takes on its device.
        memory_bytes: Limit of the user; None for none.
        weights_bytes: Size of the weights that are on the device already.

    Raises:
        FitError: `plan` raised it for the limit, or for all free memory.
    """
    if memory_bytes is not None:
        return plan(memory_bytes)
    try:
        return plan(default_budget(runtime, weights_bytes))
    except FitError:
        # Nobody set a limit: rather take all free memory than fail.
        return plan(free_bytes(runtime) + _present_bytes(runtime, weights_bytes))


def default_budget(runtime: Runtime, weights_bytes: int = 0) -> int:
    """Return the bytes that a job uses on its device without `--memory`, what it has there already included.

    Args:
        runtime: Device and precision.
        weights_bytes: Size of the weights that are on the device already.
    """
    fraction = DEVICE_FRACTION if runtime.device.type == "cuda" else HOST_FRACTION
    return int(free_bytes(runtime) * fraction) + _present_bytes(runtime, weights_bytes)


def _present_bytes(runtime: Runtime, weights_bytes: int) -> int:
    """Return what a plan counts and free memory no longer has: weights and context of a CUDA device."""
    return weights_bytes + allocator.CONTEXT_BYTES if runtime.device.type == "cuda" else 0


def free_bytes(runtime: Runtime) -> int:
    """Return the bytes of the device that this process can still allocate."""
    return allocator.free_bytes(runtime.device) if runtime.device.type == "cuda" else available_bytes()


def host_budget(runtime: Runtime) -> int | None:
    """Return the bytes of host memory that a job may use beside a device; None if the device is the host."""
    return int(available_bytes() * HOST_FRACTION) if runtime.device.type == "cuda" else None


def available_bytes() -> int:
    """Return the bytes of host memory that are free without swapping and within the limits of this process."""
    return limits.available_bytes()
