"""Fake CUDA graphs: recorded operations run only in a replay, on the same memory each time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class FakeGraph(TorchDispatchMode):
    """A fake `torch.cuda.CUDAGraph` of operations on the host.

    Attributes:
        made: All graphs of a test.
        replays: Number of replays.
        pool: Memory pool that the recording was given.
    """

    made: list[FakeGraph]

    def __init__(self) -> None:
        super().__init__()
        self.replays, self.pool = 0, None
        self._todo: list[Callable[[], object]] = []
        self.made.append(self)

    def capture_begin(self, pool: object = None, capture_error_mode: str = "global") -> None:
        self.pool = pool
        self.__enter__()

    def capture_end(self) -> None:
        self.__exit__(None, None, None)

    def replay(self) -> None:
        self.replays += 1
        for act in self._todo:
            act()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default or func is torch.ops.aten.item.default:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func._schema.is_mutable:
            # A captured operation runs in the replay, not now.
            self._todo.append(lambda: func(*args, **kwargs))
            return args[0]
        out = func(*args, **kwargs)
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        memory = {tensor.untyped_storage().data_ptr() for tensor in given}
        if not all(tensor.untyped_storage().data_ptr() in memory for tensor in made):
            for tensor in made:
                # Integers may be indices, so 0 keeps them valid.
                tensor.fill_(float("nan") if tensor.is_floating_point() else 0)

            def again() -> None:
                fresh = [leaf for leaf in tree_leaves(func(*args, **kwargs)) if isinstance(leaf, Tensor)]
                for old, new in zip(made, fresh, strict=True):
                    old.copy_(new)

            self._todo.append(again)
        return out


class FakeStream:
    """A stream that runs everything at once."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.waits = 0

    def wait_stream(self, other: FakeStream) -> None: ...

    def synchronize(self) -> None:
        self.waits += 1


@contextmanager
def _nothing(stream: FakeStream) -> Any:
    yield


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[FakeGraph]:
    """Replace the graphs of a CUDA device by fake ones; return the list of all that are made."""
    FakeGraph.made = []
    stream = FakeStream()
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "stream", _nothing)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    return FakeGraph.made
