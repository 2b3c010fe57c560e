"""The only place that picks a device and a precision."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from fitcli.device.compilation import check_compiler
from fitcli.device.processor import fast_float32, has_bf16_units
from fitcli.errors import DeviceError
from models.compilable import compile_regions
from models.precast_weights import precast_weights

Precision = Literal["fp32", "bf16"]

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3): how much may lie free at the end of the heap; blocks from this size on have pages of their own."""

LARGE_BLOCK = 1 << 20
"""Bytes."""

LARGEST_ON_HEAP, LARGEST_FREE = 32 << 20, 64 << 20
"""Bytes; glibc takes no higher threshold for blocks."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Where tensors live and how they are computed.

    Attributes:
        device: Where.
        precision: Of matrix products. Weights are always float32.
        compiled: What lies between the products is compiled (`--compile`).
    """

    device: torch.device
    precision: Precision
    compiled: bool = False

    @property
    def arithmetic(self) -> str:
        """In words, what the last bits of a result depend on beside the device."""
        return f"{self.precision}, compiled" if self.compiled else self.precision

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Context in which a forward pass runs, and the backward pass of a training step."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return fast_float32() if self.device.type == "cpu" else contextlib.nullcontext()

    def prepare(self, model: nn.Module) -> None:
        """Make the most of a model that is for inference alone, and is only called within `autocast`."""
        if self.precision == "bf16":
            precast_weights(model, torch.bfloat16)
        if self.device.type == "cpu":
            keep_freed_memory()

    def compile(self, model: nn.Module) -> None:
        """Compile the layers of a model, where that is asked for; after everything that moves or casts its weights."""
        if self.compiled:
            compile_regions(model)

    def peak_bytes(self) -> int:
        """Highest memory so far: allocated on a CUDA device, else resident bytes of this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        # ru_maxrss is in KiB on Linux and in bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def synchronize(self) -> None:
        """Wait for the device, so that a clock read afterwards means something."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def return_freed_memory() -> None:
    """Have the C library give large blocks back to the system as soon as they are freed, where it is glibc.

    By default it keeps them for later: a training step on a CPU then holds up to half as much again as it uses. What
    is given back has to be cleared again by the system: steps take a fifth to a half longer.
    """
    _mallopt({M_MMAP_THRESHOLD: LARGE_BLOCK})


def keep_freed_memory() -> None:
    """Have it keep what one handful of groups was computed in for the next: new pages would have to be cleared."""
    _mallopt({M_MMAP_THRESHOLD: LARGEST_ON_HEAP, M_TRIM_THRESHOLD: LARGEST_FREE})


def choose_runtime(
    device: str = "auto", precision: str = "auto", inference: bool = False, compiled: bool = False
) -> Runtime:
    """Turn the words of the command line into a runtime.

    Args:
        device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "fp32" or "bf16". "auto" is bf16 on CUDA devices that have it, and for inference on CPUs that
            multiply faster in it; else fp32.
        inference: No gradients will be wanted.
        compiled: What lies between the products is to be compiled.

    Raises:
        DeviceError: The device is unknown or not here, does not have the precision, or PyTorch cannot compile for it.
    """
    chosen = _device(device)
    if compiled:
        check_compiler(chosen)
    if precision == "auto":
        if chosen.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = chosen.type == "cpu" and inference and has_bf16_units()
        return Runtime(chosen, "bf16" if fast else "fp32", compiled)
    if precision == "bf16" and chosen.type == "mps":
        raise DeviceError("--precision bf16: not supported on mps; use --precision fp32")
    return Runtime(chosen, "bf16" if precision == "bf16" else "fp32", compiled)


def claim_device(name: str, local_rank: int, local_size: int) -> str:
    """Give each of several processes of a machine a CUDA device of its own: its current one, from here on.

    Args:
        name: As in `choose_runtime`.
        local_rank, local_size: Of this process among those of the machine.

    Returns:
        What they compute on: "cuda" or "cpu".

    Raises:
        DeviceError: There are not as many devices, or all are to use the same.
    """
    chosen = _device(name)
    if chosen.type == "mps" and local_size > 1:
        raise DeviceError("several processes cannot share mps; use --device cpu, or start one process")
    if chosen.type != "cuda":
        return "cpu"
    if name not in ("auto", "cuda"):
        if local_size > 1:
            raise DeviceError(f"--device {name}: {local_size} processes cannot share it; use --device cuda")
        torch.cuda.set_device(chosen)
    elif (count := torch.cuda.device_count()) < local_size:
        raise DeviceError(
            f"{local_size} processes on this machine, but {count} CUDA device{'s' * (count > 1)}; start torchrun with "
            f"--nproc-per-node {count}, or use --device cpu"
        )
    else:
        torch.cuda.set_device(local_rank)
    return "cuda"


def has_accelerator() -> bool:
    """Whether "auto" is anything but the CPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _mallopt(settings: dict[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in settings.items():
            library.mallopt(name, value)


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"--device {name}: unknown; use auto, cpu, cuda, cuda:N or mps") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not torch.cuda.is_available() or (device.index or 0) >= count:
            raise DeviceError(f"--device {name}: not here ({count} CUDA devices found); use --device auto or cpu")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: not here; use --device auto or cpu")
    elif device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"--device {name}: unknown; use auto, cpu, cuda, cuda:N or mps")
    return device
