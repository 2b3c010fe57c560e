"""Chooses the device and the precision. No other module does."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fitcli.device import host_memory  # noqa: F401 - first: it reads what the process has with torch alone
from fitcli.device.allocator import limit_memory, set_up_allocator
from fitcli.device.compilation import check_compiler
from fitcli.device.kernel_cache import limit_kernel_caches
from fitcli.device.kernels import check_device, choose_kernels
from fitcli.device.processor import fast_float32, has_bf16_units
from fitcli.errors import DeviceError
from fitcli.files.wording import counted
from models.compilable import compile_regions
from models.precast_weights import precast_weights

Precision = Literal["fp32", "bf16", "fp16"]

HALF: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""Types of 16 bits by precision."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3): the most free memory at the end of the heap, and the least size of an allocation that gets
pages of its own."""

LARGE_ALLOCATION = 64 << 10
"""Bytes from which on `return_freed_memory` gives an allocation pages of its own. With 1 MiB, a step of a small model
holds up to half as much again as it uses: most of its tensors are smaller, and leave gaps that are not returned."""

LARGEST_ON_HEAP, LARGEST_FREE = 32 << 20, 64 << 20
"""Bytes of the two thresholds in `keep_freed_memory`; glibc accepts no higher M_MMAP_THRESHOLD."""


@contextlib.contextmanager
def _float32(device_type: str) -> Iterator[None]:
    """Compute in float32, whatever autocast the caller has enabled."""
    with (
        torch.autocast(device_type, enabled=False),
        fast_float32() if device_type == "cpu" else contextlib.nullcontext(),
    ):
        yield


@dataclass(frozen=True, slots=True)
class Runtime:
    """The device that computes, and its arithmetic.

    Attributes:
        device: Device of the tensors.
        precision: Precision of matrix products. Weights are always float32. Training in "fp16" would need scaled
            losses, so it is for inference alone, on devices without bf16.
        compiled: Whether the operations between the products are compiled (`--compile`).
    """

    device: torch.device
    precision: Precision
    compiled: bool = False

    @property
    def arithmetic(self) -> str:
        """Text for the settings that, beside the device, determine the last bits of a result."""
        return f"{self.precision}, compiled" if self.compiled else self.precision

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context for a forward pass, and for the backward pass of a training step.

        An autocast that the caller of the library has enabled does not matter within.
        """
        if self.precision in HALF:
            return torch.autocast(self.device.type, dtype=HALF[self.precision])
        return _float32(self.device.type)

    def check_overflow(self, values: Tensor) -> None:
        """Check results of a model in fp16, whose largest number is 65,504; bf16 and fp32 reach as far as each other.

        Raises:
            DeviceError: A value is infinite or NaN.
        """
        if self.precision == "fp16" and not bool(torch.isfinite(values).all()):
            raise DeviceError("values of this model are too large for fp16; use --precision fp32")

    def prepare(self, model: nn.Module) -> None:
        """Prepare a model for fast inference. Do not train it afterwards, and call it only within `autocast`."""
        if self.precision in HALF:
            precast_weights(model, HALF[self.precision])
        if self.device.type == "cpu":
            keep_freed_memory()

    def compile(self, model: nn.Module) -> None:
        """Compile the layers of a model, if `compiled`. Call it after everything that moves or casts the weights."""
        if self.compiled:
            compile_regions(model)

    def peak_bytes(self) -> int:
        """Return the peak memory so far, in bytes: allocated on a CUDA device, otherwise resident in this process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        # ru_maxrss is in KiB on Linux and in bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def synchronize(self) -> None:
        """Wait for the device. Call it before you read a clock."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def return_freed_memory() -> None:
    """Make glibc return large allocations to the system as soon as they are freed.

    By default it keeps them for reuse, and a training step on a CPU holds up to half as much again as it uses. The
    price: the system has to clear returned memory again, so steps take a fifth to a half longer. Other C libraries are
    left alone.
    """
    _mallopt({M_MMAP_THRESHOLD: LARGE_ALLOCATION})


def keep_freed_memory() -> None:
    """Make glibc keep the memory of one handful of groups for the next: the system would have to clear new pages."""
    _mallopt({M_MMAP_THRESHOLD: LARGEST_ON_HEAP, M_TRIM_THRESHOLD: LARGEST_FREE})


def choose_runtime(
    device: str = "auto",
    precision: str = "auto",
    inference: bool = False,
    compiled: bool = False,
    memory_bytes: int | None = None,
    float32_on_cpu: bool = False,
) -> Runtime:
    """Return the runtime for options of the command line. On a CUDA device, select its kernels.

    Args:
        device: "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "fp32" or "bf16". "auto" is bf16 on CUDA devices that have it, and for inference on CPUs
            that multiply faster in it; fp16 for inference on other CUDA devices; otherwise fp32.
        inference: Whether no gradients will be computed.
        compiled: Whether the operations between the matrix products are compiled.
        memory_bytes: Limit of the memory that this process takes of the device; None for none.
        float32_on_cpu: Whether "auto" is fp32 on a CPU, also for inference.

    Raises:
        DeviceError: The device is unknown, is not on this machine, cannot be used or lacks the precision, or PyTorch
            cannot compile for it.
    """
    chosen = _device(device)
    if chosen.type == "cuda":
        if memory_bytes is not None:
            limit_memory(chosen, memory_bytes)
        check_device(chosen)
        choose_kernels()
    elif chosen.type == "cpu" and inference and memory_bytes is not None:
        limit_kernel_caches()
    if compiled:
        check_compiler(chosen)
    if precision == "auto":
        return Runtime(chosen, _fastest_precision(chosen, inference, float32_on_cpu), compiled)
    if precision == "bf16":
        _check_bf16(chosen)
    return Runtime(chosen, "bf16" if precision == "bf16" else "fp32", compiled)


def _fastest_precision(device: torch.device, inference: bool, float32_on_cpu: bool) -> Precision:
    if device.type == "cuda":
        return "bf16" if _has_bf16(device) else "fp16" if inference else "fp32"
    fast = device.type == "cpu" and inference and not float32_on_cpu and has_bf16_units()
    return "bf16" if fast else "fp32"


def _check_bf16(device: torch.device) -> None:
    if device.type == "mps":
        raise DeviceError("--precision bf16: not supported on mps; use --precision fp32")
    if device.type == "cuda" and not _has_bf16(device):
        raise DeviceError(
            "--precision bf16: this GPU only emulates it, slowly and in much memory; use --precision fp32, or auto, "
            "which is fp16 where nothing is trained"
        )


def _has_bf16(device: torch.device) -> bool:
    """Return whether a CUDA device computes in bf16. Others emulate it, without fast attention."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def claim_device(name: str, local_rank: int, local_size: int) -> str:
    """Give each of several processes of a machine a CUDA device of its own, as its current device.

    Args:
        name: Name of the device, as in `choose_runtime`.
        local_rank: Rank of this process among those of the machine.
        local_size: Number of processes on the machine.

    Returns:
        The type of device that the processes compute on: "cuda" or "cpu".

    Raises:
        DeviceError: There are fewer devices than processes, or `name` is one device for all of them.
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
            f"{local_size} processes on this machine, but {counted(count, 'CUDA device')}; start torchrun with "
            f"--nproc-per-node {count}, or use --device cpu"
        )
    else:
        torch.cuda.set_device(local_rank)
    return "cuda"


def has_accelerator() -> bool:
    """Return whether "auto" is a device other than the CPU."""
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _mallopt(settings: dict[int, int]) -> None:
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for name, value in settings.items():
            library.mallopt(name, value)


def _device(name: str) -> torch.device:
    set_up_allocator()
    if name in ("auto", "cuda") and not torch.cuda.is_available() and torch.cuda.device_count():
        # The driver lists devices, but PyTorch cannot start it.
        raise DeviceError(f"--device {name}: PyTorch cannot use the GPU; update its driver, or use --device cpu")
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
            raise DeviceError(
                f"--device {name}: not on this machine ({count} CUDA devices found); use --device auto or cpu"
            )
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("--device mps: not on this machine; use --device auto or cpu")
    elif device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"--device {name}: unknown; use auto, cpu, cuda, cuda:N or mps")
    return device
