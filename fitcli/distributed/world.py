"""Describes the processes of one job and exchanges messages and tensors between them.

`process_group.py` starts and ends the processes. Without torchrun there is one process, and nothing is exchanged.
Processes lie on a mesh of two axes: along `groups` they share the groups of the same images, along `data` they have
different images. Consecutive processes share images, so that the latents that every global layer exchanges stay on one
machine if possible.

Messages go over gloo, whatever the device, so they wait for no kernel. Tensors go over NCCL on CUDA devices.

`all_gather_object` unpickles the messages that it receives. Only ranks of the same job send them: processes that the
same torchrun started, with the same code and the same rights. Nothing here reads a file, and messages hold plain data.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from fitcli.distributed.heartbeat import exchanging, working_alone
from fitcli.errors import FitError

T = TypeVar("T")
AnyTensor = TypeVar("AnyTensor", bound=Tensor)

BUCKET_BYTES = 64 << 20
"""Size up to which tensors are packed into one reduction, in bytes."""


class PeerLost(FitError):
    """Another process of the job has ended; that process reports why."""

    shared = True


class UnrecoverableRankError(FitError):
    """An error of one process while the others wait for it in a different collective, so it cannot send them a message.

    The process ends with this error, and torchrun ends the others.
    """


@dataclass(frozen=True, slots=True)
class Axis:
    """The processes along one axis of the mesh.

    Attributes:
        rank: Position of this process, from 0.
        size: Number of processes.
        group: Their process group; None for the default group of all processes.
    """

    rank: int = 0
    size: int = 1
    group: dist.ProcessGroup | None = None


class _Message(NamedTuple):
    """The message of one process: a result, or the class and the text of an error."""

    result: Any
    error: tuple[type[FitError], str] | None


class PendingSum(NamedTuple):
    """The sum of a bucket of tensors over several processes, while it is being computed.

    Attributes:
        flat: Values of all tensors, which become their sums.
        work: The reduction.
        shapes: Shapes of the tensors.
    """

    flat: Tensor
    work: dist.Work
    shapes: Sequence[torch.Size]

    def receive(self) -> Iterable[Tensor]:
        """Wait for the sums and return them, as parts of `flat`. A CUDA device waits, not the host.

        Raises:
            PeerLost: Another process has ended.
        """
        with _peers():
            self.work.wait()
        parts = torch.split(self.flat, [shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]


@dataclass(frozen=True, slots=True)
class World:
    """All processes of a job, seen from one of them. The rank in the job is `data.rank * groups.size + groups.rank`.

    Attributes:
        rank: Rank of this process, 0 ... size - 1; rank 0 prints, logs and saves.
        size: Number of processes.
        local_rank: Rank of this process among those of its machine.
        local_size: Number of processes on this machine.
        restarts: Number of times that torchrun has restarted the job.
        data: The processes with different images: one of each set that shares an image.
        groups: The processes that share the images of this one.
        mesh: The mesh with the axes "data" and "groups"; None without torchrun.
        messages: The gloo group of all processes, for messages; None if the default group uses gloo only.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    restarts: int = 0
    data: Axis = field(default_factory=Axis)
    groups: Axis = field(default_factory=Axis)
    mesh: DeviceMesh | None = None
    messages: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints, logs and saves."""
        return self.rank == 0

    @property
    def everyone(self) -> Axis:
        """All processes as one axis."""
        return Axis(self.rank, self.size)

    def gather_results(self, act: Callable[[], Any]) -> list[Any]:
        """Call a function on every process and return all results. A `FitError` on one process is raised on all.

        All processes have to call this in the same order.

        Args:
            act: Returns plain data (numbers, text, lists, dicts, tuples).

        Returns:
            The results of all processes, in the order of the ranks.

        Raises:
            FitError: `act` failed on a process. All processes raise the error of the lowest rank that failed, with its
                class and message.
            PeerLost: Another process has ended.
        """
        if self.size == 1:
            return [act()]
        result, own = None, None
        try:
            with working_alone():
                result = act()
        except FitError as error:
            if error.shared or isinstance(error, UnrecoverableRankError):
                raise
            own = error
        messages = self._exchange(_Message(result, None if own is None else (type(own), str(own))))
        for rank, message in enumerate(messages):
            if message.error is not None:
                first = own if rank == self.rank and own is not None else _rebuild(*message.error)
                first.shared = True
                raise first
        return [message.result for message in messages]

    def run_on_all(self, act: Callable[[], T]) -> T:
        """Call a function that may fail on every process and return its own result, see `gather_results`."""
        results: list[T] = []
        self.gather_results(lambda: results.append(act()))
        return results[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the plain data of every process, in the order of the ranks."""
        return self.gather_results(lambda: value)

    def broadcast(self, value: Any) -> Any:
        """Return the plain data of the first process; the values of the others are ignored."""
        return self.gather(value if self.is_first else None)[0]

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """Add up numbers by name, in the order of the ranks: the sums are the same on all processes, to the bit."""
        return totals(self.gather(dict(values)))

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any process."""
        return any(self.gather(flag))

    def add_up(self, tensors: Iterable[Tensor], axis: Axis | None = None) -> None:
        """Replace tensors by their sums over all processes or over an axis: the same on all of them, to the bit.

        Small tensors share a reduction, because one of a few bytes takes as long as one of many.

        Raises:
            PeerLost: Another process has ended.
        """
        if (self.size if axis is None else axis.size) == 1:
            return
        pending: deque[tuple[list[Tensor], PendingSum]] = deque()
        with torch.no_grad():
            for bucket in buckets(tensors):
                pending.append((bucket, self.begin_sum(bucket, axis)))
                # The next bucket is packed during a reduction; more pending buckets would hold all tensors twice.
                if len(pending) > 1:
                    _unpack(*pending.popleft())
            while pending:
                _unpack(*pending.popleft())

    @torch.no_grad()
    def begin_sum(self, bucket: Sequence[Tensor], axis: Axis | None = None) -> PendingSum:
        """Begin to sum the tensors of a bucket over all processes or over an axis. All of them begin the same ones.

        Args:
            bucket: Tensors of one dtype and device. They are copied, so they can be freed.
            axis: The processes; None for all.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        with _peers():
            work = dist.all_reduce(flat, group=None if axis is None else axis.group, async_op=True)
        assert work is not None
        return PendingSum(flat, work, [tensor.shape for tensor in bucket])

    def _exchange(self, message: _Message) -> list[_Message]:
        received: list[Any] = [None] * self.size
        with _peers():
            dist.all_gather_object(received, message, self.messages)
        return received


def totals(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up numbers by name, in order. A missing name counts as 0."""
    names = dict.fromkeys(name for each in values for name in each)
    return {name: sum(each.get(name, 0) for each in values) for name in names}


ALONE = World()
"""The only process of its job."""


@contextmanager
def _peers() -> Iterator[None]:
    """Turn the RuntimeError that torch raises for a broken connection into PeerLost."""
    try:
        with exchanging():
            yield
    except RuntimeError as error:
        raise PeerLost("another process of this job has ended; see its own message or that of torchrun") from error


def _rebuild(kind: type[FitError], text: str) -> FitError:
    """Rebuild an error of another process; as a FitError if its class needs more than a message."""
    try:
        return kind(text)
    except TypeError:
        return FitError(text)


def buckets(tensors: Iterable[AnyTensor]) -> Iterator[list[AnyTensor]]:
    """Group successive tensors of one dtype and device up to `BUCKET_BYTES`; a larger tensor has its own bucket."""
    bucket: list[AnyTensor] = []
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


def _unpack(bucket: Sequence[Tensor], pending: PendingSum) -> None:
    """Wait for a sum and copy it into the tensors of the bucket."""
    for tensor, part in zip(bucket, pending.receive(), strict=True):
        tensor.copy_(part)
