"""The processes of one job: who they are, what they tell each other, and how they fail together.

`torchrun` starts the processes and says in their environment which is which; without it there is one process, and
nothing here talks to anybody. Processes lie on a mesh of two axes: along `groups` they share the groups of the same
images, along `data` they have different images. Consecutive processes share images, so that the exchange of latents in
every global layer stays on one machine where it can.

What is small goes as JSON over gloo, whatever the device: it waits for no kernel and is never unpickled. Tensors go
over NCCL on CUDA devices.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from secrets import token_hex
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from fitcli import console
from fitcli.errors import FitError
from fitcli.runtime import claim_device

T = TypeVar("T")

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun says to each process."""

TIMEOUT = timedelta(hours=2)
"""That a process waits for the others: one may validate much larger images. torchrun notices at once when one dies."""

ENVELOPE = 1024
"""Bytes in which a short message travels with its length."""

BUCKET_BYTES = 64 << 20
"""Of tensors that are summed in one message."""


class PeerLost(FitError):
    """Another process of the job is gone; what happened is for it to say."""

    shared = True


class Stranded(FitError):
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

    def jointly(self, act: Callable[[], Any]) -> list[Any]:
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
            if own.shared or isinstance(own, Stranded):
                raise
            error = own
        letters = self._exchange({"error": _described(error), "result": result})
        for rank, letter in enumerate(letters):
            if letter["error"] is not None:
                found = error if rank == self.rank and error is not None else _rebuilt(*letter["error"])
                found.shared = True
                raise found
        return [letter["result"] for letter in letters]

    def together(self, act: Callable[[], T]) -> T:
        """Do something that may fail on every process, and keep its result to oneself, see `jointly`."""
        results: list[T] = []
        self.jointly(lambda: results.append(act()))
        return results[0]

    def gather(self, value: Any) -> list[Any]:
        """Plain JSON data of every process, in their order."""
        return self.jointly(lambda: value)

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


def world() -> World:
    """This process as the environment describes it, with all axes but `data` of one process. Talks to nobody."""
    if not all(name in os.environ for name in VARIABLES):
        return ALONE
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return World(
        rank=rank,
        size=size,
        local_rank=int(os.environ["LOCAL_RANK"]),
        local_size=int(os.environ.get("LOCAL_WORLD_SIZE", size)),
        restarts=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)),
        data=Axis(rank, size),
    )


@contextmanager
def processes(device: str = "auto", group_parallel: int = 1) -> Iterator[World]:
    """The processes of the job, able to talk to each other while the context lasts. One process without torchrun.

    Of several CUDA devices each process of a machine has one of its own, the one that `choose_runtime` gives it then.
    All processes but the first are silent meanwhile, and end without a word where the first says why.

    Args:
        device: As the user names it, see `choose_runtime`.
        group_parallel: Processes that share an image.

    Raises:
        FitError: That does not divide the number of processes, or they do not find each other.
        DeviceError: There are more processes than devices.
    """
    found = world()
    if group_parallel < 1 or found.size % group_parallel:
        raise FitError(
            f"--group-parallel {group_parallel}: does not divide the {found.size} "
            f"process{'es' if found.size > 1 else ''} of this job; start a multiple of it with torchrun"
        )
    if found is ALONE:
        yield found
        return
    kind = claim_device(device, found.local_rank, found.local_size)
    backends = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    try:
        store = meeting(found.rank, found.size)
        dist.init_process_group(backends, store=store, rank=found.rank, world_size=found.size, timeout=TIMEOUT)
    except RuntimeError as error:
        raise FitError(f"the processes of this job do not find each other ({str(error).splitlines()[0]})") from error
    shape = (found.size // group_parallel, group_parallel)
    mesh = init_device_mesh(kind, shape, mesh_dim_names=("data", "groups"))
    everyone = replace(found, data=_axis(mesh, "data"), groups=_axis(mesh, "groups"), mesh=mesh)
    try:
        with _failing_together(everyone):
            yield everyone
    except Exception as error:
        # Of a mistake of ours the others know nothing: they may be in an exchange that never ends, and to leave it in
        # good order could take as long. This process is about to end, and torchrun ends the others.
        if isinstance(error, FitError) and not isinstance(error, Stranded):
            dist.destroy_process_group()
        raise
    except BaseException:
        dist.destroy_process_group()
        raise
    dist.destroy_process_group()


@contextmanager
def _failing_together(everyone: World) -> Iterator[None]:
    """Let the first process alone speak, for all."""
    try:
        with nullcontext() if everyone.is_first else console.muted():
            try:
                yield
            except Stranded:
                raise
            except FitError as error:
                # The others get it in the place of what they wait for; or have met the same error at the same place.
                try:
                    everyone.jointly(partial(_fail, error))
                except PeerLost:
                    raise error from None
    except FitError as error:
        if everyone.is_first or isinstance(error, Stranded):
            raise
        raise SystemExit(1) from error
    except KeyboardInterrupt as stop:
        if everyone.is_first:
            raise
        raise SystemExit(130) from stop


def _fail(error: FitError) -> None:
    raise error


def meeting(rank: int, size: int) -> Store:
    """Where the processes of this start of the job find each other, under a name that no earlier start has used.

    The agent of torchrun keeps its store when it starts the processes again, with the addresses of those that are dead;
    a process that read one of those would wait for it (pytorch issue 135712). How often a job was started does not make
    a name: the agents of several machines count differently. So each process says hello with a word of its own, and the
    first one answers to that word.
    """
    store, _, _ = next(rendezvous("env://", rank, size, timeout=TIMEOUT))
    if rank:
        word = token_hex(8)
        store.set(f"fit/hello/{rank}", word)
        name = store.get(f"fit/name/{word}").decode()
        store.add(f"fit/met/{name}", 1)
        return PrefixStore(name, store)
    name, answered = token_hex(8), set()
    while store.add(f"fit/met/{name}", 0) < size - 1:
        for other in range(1, size):
            hello = f"fit/hello/{other}"
            if store.check([hello]) and (word := store.get(hello).decode()) not in answered:
                store.set(f"fit/name/{word}", name)
                answered.add(word)
        time.sleep(0.01)
    return PrefixStore(name, store)


def _axis(mesh: DeviceMesh, name: str) -> Axis:
    group = mesh.get_group(name)
    return Axis(dist.get_rank(group), dist.get_world_size(group), group)


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
