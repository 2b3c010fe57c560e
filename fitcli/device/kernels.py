"""Selects the kernels of a CUDA device, and makes sure that they run there."""

from __future__ import annotations

from typing import Any

import torch

from fitcli.device.allocator import torch_release
from fitcli.errors import DeviceError, first_line, is_out_of_memory

ATTENTION = {"flash": True, "mem_efficient": True, "math": True, "cudnn": False}
"""The attention kernels that PyTorch may choose, in the order in which it tries them.

On recent GPUs PyTorch would try cuDNN first, which plans anew for every shape: up to a second for each image of another
size. Nothing measured on a GPU speaks for or against it with images of one size.
"""


def choose_kernels() -> None:
    """Select the attention kernels, and let convolutions round float32 as matrix products do, for this process."""
    for name, enabled in ATTENTION.items():
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(enabled)
    products: Any = torch.backends.cuda.matmul
    # By default products are exact, and convolutions round to TF32. PyTorch before 2.9 has no `fp32_precision`. Its
    # newer setting for convolutions alone would make the compiler fail, which reads the older one.
    rounds = products.fp32_precision == "tf32" if torch_release() >= (2, 9) else products.allow_tf32
    torch.backends.cudnn.allow_tf32 = bool(rounds)


def check_device(device: torch.device) -> None:
    """Run a small kernel.

    Raises:
        DeviceError: This PyTorch has no kernels for the device, its driver is too old, or it has no memory left.
    """
    try:
        float(torch.ones(2, device=device).sum())
    except RuntimeError as error:
        advice = (
            "wait until other processes are done, or give another --device"
            if is_out_of_memory(error)
            else "update its driver, install a build of PyTorch for it, or use --device cpu"
        )
        raise DeviceError(f"--device {device}: cannot compute ({first_line(error)}); {advice}") from error
