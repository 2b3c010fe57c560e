"""A device without values: counts how often, and where, the host waits for one.

Tensors on the "meta" device have shapes but no values. Here they stand for tensors of a CUDA device, whose values the
host gets only after it has waited for all work that is queued.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import adam
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")

MAKERS = ((torch, "tensor"), (torch, "as_tensor"), (Tensor, "new_tensor"))
"""Functions that make tensors from Python values. They copy from the host, which waits; `Waits` does not see these."""

OURS = {"fitcli", "models"}
"""Folders of the code whose lines are reported."""


def on_device(value: object) -> bool:
    return isinstance(value, Tensor) and value.device == DEVICE


class Waits(TorchDispatchMode):
    """Records where the host waits, and answers 1 when it reads a value.

    Operations whose result has a shape that depends on values (`nonzero`, indexing with a mask) raise
    NotImplementedError on the "meta" device.

    Attributes:
        reads: Places where the host read values of the device.
        sends: Places where the host waited to send values to the device.
        events: Places where the host waited for a point in the queue of the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.sends: list[str] = []
        self.events: list[str] = []

    def forget(self) -> None:
        self.reads.clear()
        self.sends.clear()
        self.events.clear()

    def make(self, maker: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Call one of `MAKERS`."""
        if on_device(made := maker(*args, **kwargs)):
            self.sends.append(place())
        return made

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_host = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor) and not on_device(leaf)]
        if func is torch.ops.aten._local_scalar_dense.default and on_device(args[0]):
            self.reads.append(place())
            return 1.0
        if func is torch.ops.aten._to_copy.default and on_device(args[0]) and kwargs.get("device", DEVICE) != DEVICE:
            if not kwargs.get("non_blocking"):
                self.reads.append(place())
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is torch.ops.aten.copy_.default and on_device(args[1]) and not on_device(args[0]):
            self.reads.append(place())
            return args[0].fill_(1)
        out = func(*args, **kwargs)
        copies = func is torch.ops.aten.copy_.default
        waits = not kwargs.get("non_blocking", copies and len(args) > 2 and args[2])
        if waits and any(tensor.ndim for tensor in on_host) and any(map(on_device, tree_leaves(out))):
            self.sends.append(place())
        return out


class _Event:
    """A point in the queue of the device; a second passes between any two."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def synchronize(self) -> None:
        self._waits.events.append(place())

    def elapsed_time(self, later: _Event) -> float:
        return 1000.0


def place() -> str:
    """Return the file and line of this project that is running."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not OURS & set(Path(frame.f_code.co_filename).parts[-4:-1]):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _made(waits: Waits, maker: Callable[..., Tensor]) -> Callable[..., Tensor]:
    # A lambda, not a partial: as an attribute of a class it has to bind as a method.
    return lambda *args, **kwargs: waits.make(maker, *args, **kwargs)


@contextmanager
def valueless(monkeypatch: pytest.MonkeyPatch) -> Iterator[Waits]:
    """Record waiting inside the context, in this thread."""
    # Autocast does not support this device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.bfloat16)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    waits = Waits()
    stream = SimpleNamespace(record_event=lambda event=None: event or _Event(waits))
    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing=False: _Event(waits))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: stream)
    # The optimizer does not know that this device has a fused kernel.
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)
    for owner, name in MAKERS:
        monkeypatch.setattr(owner, name, _made(waits, getattr(owner, name)))
    with waits:
        yield waits
