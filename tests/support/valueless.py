"""A device whose values nobody has: what waits for one is counted, and so is where that happens.

Tensors on the "meta" device know shapes alone. Here they stand for those of a CUDA device, which has the values, but
only when all that was asked of it before is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")

MAKERS = ((torch, "tensor"), (torch, "as_tensor"), (Tensor, "new_tensor"))
"""What makes tensors of values of Python: on the host, and then they are copied, which waits; unseen by `Waits`."""

OURS = {"fitcli", "models"}


def is_there(value: object) -> bool:
    return isinstance(value, Tensor) and value.device == DEVICE


class Waits(TorchDispatchMode):
    """Lets computing on the device go on where a value is asked for: it is one.

    Operations whose results have a shape that depends on values (`nonzero`, a mask as an index) raise
    NotImplementedError of themselves.

    Attributes:
        reads: Where the host read values of the device.
        sends: Where it waited for the device to send it values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.sends: list[str] = []

    def forget(self) -> None:
        self.reads.clear()
        self.sends.clear()

    def make(self, maker: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Call one of `MAKERS`."""
        if is_there(made := maker(*args, **kwargs)):
            self.sends.append(place())
        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        here = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and not is_there(leaf)]
        if func is torch.ops.aten._local_scalar_dense.default and is_there(args[0]):
            self.reads.append(place())
            return 1.0
        if func is torch.ops.aten._to_copy.default and is_there(args[0]) and kwargs.get("device", DEVICE) != DEVICE:
            self.reads.append(place())
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype", args[0].dtype))
        if func is torch.ops.aten.copy_.default and is_there(args[1]) and not is_there(args[0]):
            self.reads.append(place())
            return args[0].fill_(1)
        out = func(*args, **kwargs)
        copies = func is torch.ops.aten.copy_.default
        waits = not kwargs.get("non_blocking", copies and len(args) > 2 and args[2])
        if waits and any(tensor.ndim for tensor in here) and any(map(is_there, tree_leaves(out))):
            self.sends.append(place())
        return out


def place() -> str:
    """The line of this project that is being run."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not OURS & set(Path(frame.f_code.co_filename).parts[-4:-1]):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _made(waits: Waits, maker: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # A function, not a partial: as an attribute of a class it is a method.
    return lambda *args, **kwargs: waits.make(maker, *args, **kwargs)


@contextmanager
def valueless(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Count waiting while the context lasts, in this thread."""
    # Autocast knows no such device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    waits = Waits()
    for owner, name in MAKERS:
        monkeypatch.setattr(owner, name, _made(waits, getattr(owner, name)))
    with waits:
        yield waits
