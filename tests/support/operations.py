"""Counts the operations that PyTorch runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Counts operations while it is entered as a context.

    Args:
        weights: Tensors whose casts are counted.

    Attributes:
        calls: Number of calls of each operation, by name.
        flops: FLOPs of matrix products; a multiplication and its addition count as two.
        casts: Number of casts of `weights`.
        largest: Number of elements of the largest tensor that an operation returned.
    """

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.flops = self.casts = self.largest = 0
        self.weights = {weight.data_ptr() for weight in weights}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().split("::")[1].split(".")[0]
        result = function(*args, **(kwargs or {}))
        self.calls[name] += 1
        self.largest = max(self.largest, result.numel() if isinstance(result, Tensor) else 0)
        if name == "linear":
            self.flops += 2 * args[0].numel() * args[1].shape[0]
        elif name in ("mm", "bmm", "addmm", "baddbmm"):
            self.flops += 2 * result.numel() * args[-2 if name in ("mm", "bmm") else 1].shape[-1]
        elif name in ("_to_copy", "to") and isinstance(args[0], Tensor):
            self.casts += args[0].data_ptr() in self.weights
        return result
