"""A fake CUDA device, whose streams run their work late and in any order that their events allow.

Tensors "on the device" are ordinary tensors that hold garbage until the stream that fills them gets there. Freed memory
is overwritten as soon as PyTorch's allocator could reuse it: in the order of the stream that owns it, or, if
`record_stream` named other streams, at the first allocation after these have used it. So a missing wait gives wrong
values for some order.
"""

from __future__ import annotations

import random
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

DEVICE = torch.device("cuda")

PLAIN = {name: getattr(Tensor, name) for name in ("to", "copy_", "record_stream", "pin_memory")}
EMPTY, CAT = torch.empty, torch.cat


class Event:
    """An event of a stream. It has happened when the stream gets there; its time counts the items done by then."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.happened, self.time, self._cuda = False, 0, cuda

    def happen(self) -> None:
        self.happened, self.time = True, self._cuda.done

    def elapsed_time(self, later: Event) -> float:
        assert self.happened
        assert later.happened
        return float(later.time - self.time)

    def synchronize(self) -> None:
        self._cuda.waits += 1
        self._cuda.run_until(lambda: self.happened)


class Stream:
    """A queue of work that runs in order."""

    def __init__(self, cuda: FakeCuda) -> None:
        self.todo: deque[Event | Callable[[], object]] = deque()
        self._cuda = cuda
        cuda.streams.append(self)

    def wait_event(self, event: Event) -> None:
        self.todo.append(event)

    def wait_stream(self, other: Stream) -> None:
        self.wait_event(other.record_event())

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event(self._cuda)
        self.todo.append(event.happen)
        return event

    def synchronize(self) -> None:
        self.record_event().synchronize()

    def ready(self) -> bool:
        """Return whether the next item of the queue can run now."""
        while self.todo and isinstance(self.todo[0], Event) and self.todo[0].happened:
            self.todo.popleft()
        return bool(self.todo) and not isinstance(self.todo[0], Event)

    def run_one(self) -> None:
        act = self.todo.popleft()
        assert not isinstance(act, Event)
        act()
        self._cuda.done += 1


class FakeCuda:
    """The device.

    Args:
        seed: Seed of the order in which streams run; it also selects one stream that runs as late as possible.

    Attributes:
        streams: All streams; the first is the default one.
        current: The current stream.
        waits: Number of times that the host waited.
        most: Peak of allocated bytes.
        done: Number of items that the streams have run.
    """

    def __init__(self, seed: int) -> None:
        self.done = 0
        self.streams: list[Stream] = []
        self.current = Stream(self)
        self.waits = self.most = self._taken = 0
        self._random, self._lazy = random.Random(seed), seed % 4
        # By address. All memory is kept, so that no address is reused.
        self._pinned, self._there = dict[int, Tensor](), dict[int, Tensor]()
        self._users: dict[int, list[Stream]] = {}
        self._freed: list[tuple[Tensor, Stream, list[Event]]] = []

    def run_until(self, done: Callable[[], bool], streams: list[Stream] | None = None) -> None:
        """Run `streams`, or all, in a random order until `done`."""
        while not done():
            ready = [stream for stream in streams or self.streams if stream.ready()]
            assert ready, "deadlock: every stream waits for an event that will not happen"
            self._random.choice(self._willing(ready) or ready).run_one()

    def some(self) -> None:
        """Run a few items, as a device does while the host is busy."""
        for _ in range(self._random.choice([0, 0, 1, 3, 10])):
            ready = self._willing([stream for stream in self.streams if stream.ready()])
            if ready:
                self._random.choice(ready).run_one()

    def _willing(self, streams: list[Stream]) -> list[Stream]:
        """Leave out the stream that runs as late as possible."""
        return [stream for stream in streams if self.streams.index(stream) != self._lazy]

    def launch(self, compute: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Queue a kernel on the current stream and return its result."""
        with torch.no_grad():
            out = self._made(torch.empty_like(compute(*tensors)))
        # A kernel holds addresses only: it does not keep tensors alive that the host frees.
        storages = [tensor.detach() for tensor in (out, *tensors)]
        self.current.todo.append(lambda: PLAIN["copy_"](storages[0], compute(*storages[1:])))
        self.some()
        return out

    def values(self, tensor: Tensor) -> Tensor:
        """Wait for the current stream and return the values that the host reads."""
        self.current.synchronize()
        return tensor.clone()

    def is_pinned(self, tensor: Tensor) -> bool:
        return address(tensor) in self._pinned

    def pinned(self) -> list[Tensor]:
        """Return all memory that was ever pinned."""
        return list(self._pinned.values())

    def pin(self, tensor: Tensor) -> Tensor:
        if self.is_pinned(tensor):
            return tensor
        # Pinning keeps the strides.
        made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
        self._pinned[address(made)] = made.detach()
        return made.copy_(tensor)

    def empty(self, *args: Any, pin_memory: bool = False, **kwargs: Any) -> Tensor:
        made: Tensor = EMPTY(*args, **kwargs)
        if pin_memory:
            self._pinned[address(made)] = made.detach()
        return made

    def to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device = args[0] if args else kwargs.get("device")
        if device == tensor.dtype and address(tensor) in self._there:
            return tensor
        if getattr(device, "type", device) != "cuda":
            if address(tensor) in self._there and kwargs.get("non_blocking"):
                made = self.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                garbage(made)
                self._copy(made, tensor.detach())
                self.some()
                return made
            if address(tensor) in self._there:
                self.current.synchronize()
            return PLAIN["to"](tensor, *args, **kwargs)  # type: ignore[no-any-return]
        made = self._made(EMPTY(tensor.shape, dtype=tensor.dtype))
        self._copy(made.detach(), tensor.detach())
        if not (kwargs.get("non_blocking") and self.is_pinned(tensor) and tensor.is_contiguous()):
            self.current.synchronize()
        self.some()
        return made

    def copy_(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        if not (non_blocking and self.is_pinned(target)):
            return PLAIN["copy_"](target, source)  # type: ignore[no-any-return]
        self._copy(target, source.detach())
        self.some()
        return target

    def cat(self, tensors: list[Tensor]) -> Tensor:
        if any(address(tensor) in self._there for tensor in tensors):
            return self.launch(lambda *parts: CAT(parts), *tensors)
        return CAT(tensors)

    def record_stream(self, tensor: Tensor, stream: Stream) -> None:
        self._users[address(tensor)].append(stream)

    @contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def _copy(self, target: Tensor, source: Tensor) -> None:
        self.current.todo.append(lambda: PLAIN["copy_"](target, source))

    def _made(self, tensor: Tensor) -> Tensor:
        """Register a tensor as memory of the device that the current stream owns."""
        if not tensor.numel():
            return tensor
        self._give_away()
        memory, owner = tensor.detach(), self.current
        garbage(memory)
        self._there[address(memory)], self._users[address(memory)] = memory, []
        self._taken += memory.nbytes
        self.most = max(self.most, self._taken)
        weakref.finalize(tensor, self._free, memory, owner)
        return tensor

    def _free(self, memory: Tensor, owner: Stream) -> None:
        users = self._users.pop(address(memory))
        self._freed.append((memory, owner, [user.record_event() for user in users]))
        if not users:
            self._give_away()

    def _give_away(self) -> None:
        """Overwrite freed memory that no stream uses any more, as its next owner would."""
        freed, self._freed = self._freed, []
        for memory, owner, used in freed:
            if all(event.happened for event in used):
                self._taken -= memory.nbytes
                owner.todo.append(partial(garbage, memory))
            else:
                self._freed.append((memory, owner, used))


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def garbage(tensor: Tensor) -> None:
    tensor.fill_(float("nan") if tensor.is_floating_point() else 99)


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> Iterator[FakeCuda]:
    """Replace `torch.cuda` by a fake device inside the context."""
    cuda = FakeCuda(seed)
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "Stream", lambda device: Stream(cuda))
        patch.setattr(torch.cuda, "Event", lambda enable_timing=False: Event(cuda))
        patch.setattr(torch.cuda, "current_stream", lambda device=None: cuda.current)
        patch.setattr(torch.cuda, "stream", cuda.on)
        patch.setattr(torch, "empty", cuda.empty)
        patch.setattr(torch, "cat", cuda.cat)
        # Lambdas, not methods of the device: as attributes of a class they have to bind to tensors.
        patch.setattr(Tensor, "to", lambda *args, **kwargs: cuda.to(*args, **kwargs))
        patch.setattr(Tensor, "copy_", lambda *args, **kwargs: cuda.copy_(*args, **kwargs))
        patch.setattr(Tensor, "record_stream", lambda tensor, stream: cuda.record_stream(tensor, stream))
        patch.setattr(Tensor, "pin_memory", lambda tensor: cuda.pin(tensor))
        yield cuda


class CudaMachine:
    """What a machine with one CUDA device tells PyTorch, for tests of what is asked of it; nothing computes there.

    Attributes:
        total, free, reserved, allocated: Bytes of the device: all, free by the driver, held by the allocator, in use.
        fraction: Fraction of all bytes that the process may allocate.
        has_bf16: Whether the device computes in bf16 without emulation.
        launches: Number of small kernels that were run to check the device.
        error: Error of the next kernel; None if kernels run.
        emptied: Number of times that the allocator gave back what it kept for reuse.
    """

    def __init__(self) -> None:
        self.total, self.free, self.reserved, self.allocated = 16 << 30, 10 << 30, 5 << 30, 3 << 30
        self.fraction, self.has_bf16, self.launches, self.emptied = 1.0, True, 0, 0
        self.error: Exception | None = None

    def ones(self, *size: int, device: torch.device | None = None) -> Tensor:
        if device is None or device.type != "cuda":
            return ONES(*size, device=device)
        self.launches += 1
        if self.error is not None:
            raise self.error
        return ONES(*size)

    def limit(self, fraction: float, device: torch.device) -> None:
        assert 0 <= fraction <= 1
        self.fraction = fraction

    def empty_cache(self) -> None:
        self.emptied += 1


ONES = torch.ones


@contextmanager
def cuda_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[CudaMachine]:
    """Let PyTorch report a CUDA device until the end of the test; restore the choice of kernels after the context."""
    machine, cuda, backends = CudaMachine(), torch.cuda, torch.backends
    enabled = {name: getattr(backends.cuda, f"{name}_sdp_enabled")() for name in SDP}
    products: Any = backends.cuda.matmul
    rounding = products.fp32_precision, backends.cudnn.allow_tf32
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "mem_get_info": lambda device=None: (machine.free, machine.total),
        "memory_reserved": lambda device=None: machine.reserved,
        "memory_allocated": lambda device=None: machine.allocated,
        "get_per_process_memory_fraction": lambda device=None: machine.fraction,
        "set_per_process_memory_fraction": machine.limit,
        "get_device_properties": lambda device=None: SimpleNamespace(total_memory=machine.total),
        "is_bf16_supported": lambda including_emulation=True: machine.has_bf16 or including_emulation,
        "device": lambda device: nullcontext(),
        "empty_cache": machine.empty_cache,
    }
    # Without a context of its own: a test may replace an answer, and all are undone in the opposite order.
    for name, answer in answers.items():
        monkeypatch.setattr(cuda, name, answer)
    monkeypatch.setattr(torch, "ones", machine.ones)
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        # Set first, so that what is set inside is undone.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    try:
        yield machine
    finally:
        for name, on in enabled.items():
            getattr(backends.cuda, f"enable_{name}_sdp")(on)
        products.fp32_precision, backends.cudnn.allow_tf32 = rounding


SDP = ("flash", "mem_efficient", "math", "cudnn")
"""Attention kernels of PyTorch for CUDA devices."""
