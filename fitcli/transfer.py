"""Values between the host and the device that computes: neither waits for the other more often than it must."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Values on the device, without waiting for what that is busy with.

    On MPS the host does wait: the copy would read its source later, when that may be gone (pytorch issue 189690).
    """
    return values.to(device, non_blocking=device.type != "mps")


def read_together(tensors: Sequence[Tensor]) -> list[list[float]]:
    """The values of tensors of any shape, flattened, in one copy: the host waits once for the device.

    Args:
        tensors: One or more, on the same device. Whole numbers are exact up to 2**24.
    """
    # At least float32, which holds halves exactly; MPS has nothing longer.
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    values = torch.cat([tensor.detach().flatten().to(dtype) for tensor in tensors]).tolist()
    found, start = [], 0
    for tensor in tensors:
        found.append(values[start : start + tensor.numel()])
        start += tensor.numel()
    return found
