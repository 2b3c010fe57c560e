"""`--compile`: whether PyTorch can compile for a device here, and what to say where it cannot."""

from __future__ import annotations

import torch

from fitcli.errors import DeviceError

NEEDED = (
    "install what torch.compile needs (a C++ compiler like g++; on a GPU also Triton and the headers of Python), or "
    "leave --compile out"
)


def check_compiler(device: torch.device) -> None:
    """Compile something small, so that what is missing is found before any work.

    Raises:
        DeviceError: It cannot be compiled.
    """
    if device.type == "mps":
        raise DeviceError("--compile is not supported on mps; leave it out")
    try:
        torch.compile(_something_small, fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:
        # Of many kinds: of the compiler, of Triton, of the operating system.
        raise DeviceError(failure(error)) from error


def _something_small(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + x


def failure(error: BaseException) -> str:
    """One line on what kept PyTorch from compiling."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"--compile: PyTorch cannot compile here ({reason.strip()}); {NEEDED}"


def is_failure(error: BaseException) -> bool:
    """Whether an error is one of compiling, rather than of what was compiled."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
