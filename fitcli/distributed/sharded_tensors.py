"""Tensors whose parts lie on several processes, see `torch.distributed.tensor`."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def local_part(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process holds, in the same memory; all of a tensor that is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_tensor(tensor: Tensor) -> Tensor:
    """Return all of a tensor. Collective: call it on all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor sharded as another one of its shape is."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    # Every process has read the whole tensor: nothing has to be sent.
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
