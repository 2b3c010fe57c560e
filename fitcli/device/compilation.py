"""Checks for `--compile` that PyTorch can compile on this machine, and turns compiler errors into one line."""

from __future__ import annotations

import torch

from fitcli.errors import DeviceError

NEEDED = (
    "install what torch.compile needs (a C++ compiler like g++; on a GPU also Triton and the headers of Python), or "
    "use --no-compile"
)


def check_compiler(device: torch.device) -> None:
    """Compile a small function, so that a missing compiler is reported before any work is done.

    Raises:
        DeviceError: PyTorch cannot compile for the device.
    """
    if device.type == "mps":
        raise DeviceError("--compile is not supported on mps; leave it out")
    try:
        torch.compile(_small_function, fullgraph=True)(torch.ones(8, device=device))
    except Exception as error:
        # The compiler, Triton and the operating system raise errors of many classes.
        raise DeviceError(compile_error(error)) from error


def _small_function(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + x


def compile_error(error: BaseException) -> str:
    """Return one line that says why PyTorch cannot compile, and what to do."""
    reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"--compile: PyTorch cannot compile here ({reason.strip()}); {NEEDED}"


def is_compile_error(error: BaseException) -> bool:
    """Return whether the compiler raised an error, rather than the compiled code."""
    return type(error).__module__.startswith(("torch._dynamo", "torch._inductor"))
