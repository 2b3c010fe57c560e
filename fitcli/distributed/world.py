"""What the processes of one job are to each other, and what they tell each other; `processes.py` starts and ends them.

Without torchrun there is one process, and nothing here talks to anybody. Processes lie on a mesh of two axes: along
`groups` they share the groups of the same images, along `data` they have different images. Consecutive processes share
images, so that the exchange of latents in every global layer stays on one machine where it can.

What is small goes as JSON over gloo, whatever the device: it waits for no kernel and is never unpickled. Tensors go
over NCCL on CUDA devices.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from fitcli.errors import FitError

T = TypeVar("T")

ENVELOPE = 1024
"""Bytes in which a short message travels with its length."""

BUCKET_BYTES = 64 << 20
"""Of tensors that are summed in one message."""


class PeerLost(FitError):
    """Another process of the job is gone; what happened is for it to say."""

    shared = True


class UnrecoverableRankError(FitError):
    """What happened to one process while the others wait for something else of it: they cannot be told.

    The process ends with the message, and torchrun ends the others.
    """


@dataclass(frozen=True, slots=True)
class Axis:
    """The processes along one axis of the mesh.

    Attributes:
        rank: Place of this process, from 0.
        size: How many there are.
        group: To talk to them; None for all processes of the job.
    """

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None


@dataclass(frozen=True, slots=True)
class World:
    """All processes of a job, seen from one of them. The rank in the job is `data.rank * groups.size + groups.rank`.

    Attributes:
        rank: Of this process, 0 ... size - 1; the first is the one that prints, logs and saves.
        size: How many there are.
        local_rank: Of this process among those of its machine.
        local_size: How many there are on this machine.
        restarts: How often torchrun has started the job again.
        data: The processes that have other images: one of each set that shares an image.
        groups: The processes that share the images of this one.
        mesh: Of the axes "data" and "groups"; None without torchrun.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0
    data: Axis = field(default_factory=Axis)
    groups: Axis = field(default_factory=Axis)
    mesh: DeviceMesh | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints, logs and saves."""
        return self.rank == 0

    @property
    def everyone(self) -> Axis:
        """All processes as one axis."""
        return Axis(self.rank, self.size)

    def gather_results(self, act: Callable[[], Any]) -> list[Any]:
        """Do something on every process. What fails on one, as `FitError`, fails on all of them, with its message.

        All processes have to call this in the same order.

        Args:
            act: Gives plain JSON data: what the others are to know.

        Returns:
            What it gave on every process, in their order.

        Raises:
            FitError: It failed somewhere; of several errors that of the lowest rank, in its class.
            PeerLost: A process is gone.
        """
        if self.size == 1:
            return [act()]
        result, error = None, None
        try:
            result = act()
        except FitError as own:
            if own.shared or isinstance(own, UnrecoverableRankError):
                raise
            error = own
        letters = self._exchange({"error": _described(error), "result": result})
        for rank, letter in enumerate(letters):
            if letter["error"] is not None:
                found = error if rank == self.rank and error is not None else _rebuilt(*letter["error"])
                found.shared = True
                raise found
        return [letter["result"] for letter in letters]

    def run_on_all(self, act: Callable[[], T]) -> T:
        """Do something that may fail on every process, and keep its result to oneself, see `gather_results`."""
        results: list[T] = []
        self.gather_results(lambda: results.append(act()))
        return results[0]

    def gather(self, value: Any) -> list[Any]:
        """Plain JSON data of every process, in their order."""
        return self.gather_results(lambda: value)

    def broadcast(self, value: Any) -> Any:
        """Plain JSON data of the first process; what the others give does not count."""
        return self.gather(value if self.is_first else None)[0]

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add numbers up by their names, in the order of the processes: the same everywhere, to the bit."""
        return totals(self.gather(dict(values)))

    def any(self, said: bool) -> bool:
        """Whether one process says so."""
        return any(self.gather(said))

    def barrier(self) -> None:
        """Wait for all."""
        self.gather(None)

    def add_up(self, tensors: Iterable[Tensor], axis: Axis | None = None) -> None:
        """Replace tensors by their sums over all processes, or over those of an axis: the same everywhere, to the bit.

        Small tensors share a message: a message of a few bytes takes as long as one of many.

        Raises:
            PeerLost: A process is gone.
        """
        if (self.size if axis is None else axis.size) == 1:
            return
        group = None if axis is None else axis.group
        under_way: deque[tuple[list[Tensor], Tensor, dist.Work]] = deque()
        with torch.no_grad():
            for bucket in _buckets(tensors):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                with _peers():
                    work = dist.all_reduce(flat, group=group, async_op=True)
                assert work is not None
                under_way.append((bucket, flat, work))
                # The next bucket is packed while one travels; more of them would hold all tensors twice.
                if len(under_way) > 1:
                    _unpack(*under_way.popleft())
            while under_way:
                _unpack(*under_way.popleft())

    def _exchange(self, letter: Any) -> list[Any]:
        """What every process sends, in their order."""
        data = json.dumps(letter).encode()
        fits = ENVELOPE - 8
        parcels = self._bytes(len(data).to_bytes(8, "little") + data[:fits], ENVELOPE)
        lengths = [int.from_bytes(parcel[:8], "little") for parcel in parcels]
        if max(lengths) > fits:
            longer = self._bytes(data[fits:], max(lengths) - fits)
            parcels = [first + rest for first, rest in zip(parcels, longer, strict=True)]
        return [json.loads(parcel[8 : 8 + length]) for parcel, length in zip(parcels, lengths, strict=True)]

    def _bytes(self, data: bytes, length: int) -> list[bytes]:
        own = torch.frombuffer(bytearray(data.ljust(length, b"\0")), dtype=torch.uint8)
        received = [torch.empty_like(own) for _ in range(self.size)]
        with _peers():
            dist.all_gather(received, own)
        return [bytes(parcel.tolist()) for parcel in received]


def totals(everyone: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums of numbers by their names, added up in order; a name that is missing counts as 0."""
    names = dict.fromkeys(name for each in everyone for name in each)
    return {name: sum(each.get(name, 0) for each in everyone) for name in names}


ALONE = World()
"""The only process of its job."""


@contextmanager
def _peers() -> Iterator[None]:
    """torch says with a RuntimeError that a connection broke."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLost("another process of this job has ended; see what it said, or torchrun says of it") from error


def _described(error: FitError | None) -> tuple[str, str] | None:
    return None if error is None else (type(error).__name__, str(error))


def _rebuilt(kind: str, message: str) -> FitError:
    """An error of another process: of its class, where that is made from a message alone."""
    known: deque[type[FitError]] = deque([FitError])
    while known:
        each = known.popleft()
        if each.__name__ == kind:
            with suppress(TypeError):
                return each(message)
        known.extend(each.__subclasses__())
    return FitError(message)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one dtype and device that follow each other, up to `BUCKET_BYTES`, or one that is larger."""
    bucket: list[Tensor] = []
    held = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        alike = not bucket or (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and (not alike or held + size > BUCKET_BYTES):
            yield bucket
            bucket, held = [], 0
        bucket.append(tensor)
        held += size
    if bucket:
        yield bucket


def _unpack(bucket: Sequence[Tensor], flat: Tensor, work: dist.Work) -> None:
    with _peers():
        work.wait()
    parts = torch.split(flat, [tensor.numel() for tensor in bucket])
    for tensor, part in zip(bucket, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
