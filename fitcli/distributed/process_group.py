"""Connects the processes that torchrun started to one job, and ends them together, also when one fails.

torchrun describes each process in environment variables.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from functools import partial
from secrets import token_hex

import torch.distributed as dist
from torch._C._distributed_c10d import TCPStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from fitcli import console
from fitcli.device.runtime import claim_device
from fitcli.distributed.heartbeat import TIMEOUT_MINUTES, duration, heartbeat
from fitcli.distributed.world import ALONE, Axis, PeerLost, UnrecoverableRankError, World
from fitcli.errors import FitError
from fitcli.files.wording import counted

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process."""

TIMEOUT = 60 * TIMEOUT_MINUTES
"""Seconds without a sign of life after which a process counts as lost, by default."""

FOREVER = 10**8
"""Seconds that are longer than any job."""

LONGEST_EXCHANGE = timedelta(days=1)
"""Longest wait in one collective. It ends a job whose processes all live but wait for different things; `heartbeat`
notices a lost process long before, and one that validates much larger images may take hours.
"""

LEAST_TO_CONNECT = 60.0
"""Least time that the processes have to connect, in seconds: they import torch at different speeds."""

RELEASE_SECONDS = 0.2
"""Wait for the threads of gloo to release their tensors, in seconds: microseconds once they have a core and the GIL."""


def read_world() -> World:
    """Read from the environment which process this is. All processes lie on the axis `data`; none is contacted."""
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
def processes(device: str = "auto", group_parallel: int = 1, timeout: float = TIMEOUT) -> Iterator[World]:
    """Connect the processes of the job while the context lasts. Without torchrun there is one process.

    Each process of a machine gets a CUDA device of its own, which `choose_runtime` then returns. Only the first process
    prints; the others exit silently when the first one reports an error.

    Args:
        device: The device as the user names it, see `choose_runtime`.
        group_parallel: Number of processes that share an image.
        timeout: Seconds without a sign of life after which a process counts as lost, see `heartbeat`; 0 to wait for
            ever.

    Raises:
        FitError: `group_parallel` does not divide the number of processes, or the processes cannot connect.
        DeviceError: There are more processes than devices.
    """
    own = read_world()
    if group_parallel < 1 or own.size % group_parallel:
        raise FitError(
            f"--group-parallel {group_parallel}: does not divide the {counted(own.size, 'process', 'processes')} of "
            f"this job; start {max(2, group_parallel)} with torchrun, or a multiple of it to train"
        )
    if own is ALONE:
        yield own
        return
    kind = claim_device(device, own.local_rank, own.local_size)
    with connected_store(own, timeout) as store:
        world = _connect(own, kind, store, group_parallel)
        try:
            with _propagate_errors(world):
                yield world
        except Exception as error:
            # On an unexpected exception other ranks may be blocked in a collective: don't destroy the process group,
            # which could wait for them; exit and let torchrun kill them.
            if isinstance(error, FitError) and not isinstance(error, UnrecoverableRankError):
                _disconnect()
            raise
        except BaseException:
            _disconnect()
            raise
        _disconnect()


def _connect(own: World, kind: str, store: Store, group_parallel: int) -> World:
    """Make the process groups of a job."""
    backends = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    with _naming_the_address():
        dist.init_process_group(backends, store=store, rank=own.rank, world_size=own.size, timeout=LONGEST_EXCHANGE)
        messages = dist.new_group(timeout=LONGEST_EXCHANGE, backend="gloo") if kind == "cuda" else None
    shape = (own.size // group_parallel, group_parallel)
    mesh = init_device_mesh(kind, shape, mesh_dim_names=("data", "groups"))
    return replace(own, data=_axis(mesh, "data"), groups=_axis(mesh, "groups"), mesh=mesh, messages=messages)


def _disconnect() -> None:
    """Destroy the process group and wait until its threads have released their tensors.

    A thread of gloo may release the tensors of the last collective late. It needs the GIL for that, and aborts the
    process if the interpreter is shutting down by then (pytorch pull request 179291): a finished job would fail.
    """
    dist.destroy_process_group()
    time.sleep(RELEASE_SECONDS)


@contextmanager
def _propagate_errors(world: World) -> Iterator[None]:
    """Raise a `FitError` of any process on all. Only the first process prints errors and interrupts."""
    try:
        with nullcontext() if world.is_first else console.muted():
            try:
                yield
            except UnrecoverableRankError:
                raise
            except FitError as error:
                # The others receive the error in their next exchange, or raise the same one at the same place.
                try:
                    world.gather_results(partial(_fail, error))
                except PeerLost:
                    raise error from None
    except FitError as error:
        if world.is_first or isinstance(error, UnrecoverableRankError):
            raise
        raise SystemExit(1) from error
    except KeyboardInterrupt as stop:
        if world.is_first:
            raise
        raise SystemExit(130) from stop


def _fail(error: FitError) -> None:
    raise error


@contextmanager
def connected_store(own: World, timeout: float) -> Iterator[Store]:
    """Connect to the key-value store of the job, and give signs of life through it while the context lasts.

    Args:
        own: This process; only its rank and the number of processes matter.
        timeout: See `processes`.

    Raises:
        FitError: The processes cannot connect.
    """
    with _naming_the_address():
        prefix, store = _connect_store(own.rank, own.size, max(timeout, LEAST_TO_CONNECT) if timeout else FOREVER)
        # A call to the store may wait for long, and others on the same connection wait with it.
        signs = None if own.size == 1 or not timeout else PrefixStore(f"{prefix}/signs", _second_connection())
    with nullcontext() if signs is None else heartbeat(signs, _store_place(), own.rank, own.size, timeout):
        yield store


def _second_connection() -> Store:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, wait_for_workers=False)


def _store_place() -> str:
    """Return in words where the store is."""
    keeper = "torchrun" if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else "rank 0"
    return f"{keeper}, which keeps the store of this job at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']},"


@contextmanager
def _naming_the_address() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, FitError):
            raise
        reason = str(error).splitlines()[0]
        raise FitError(
            f"the processes of this job cannot connect ({reason}); "
            "check that all machines can reach the address in MASTER_ADDR and MASTER_PORT"
        ) from error


def _connect_store(rank: int, size: int, timeout: float) -> tuple[str, Store]:
    """Connect to the key-value store of the job, under a prefix that no earlier start of the job has used.

    The agent of torchrun keeps its store when it restarts the processes, with the addresses of the dead ones: a process
    that reads such an address waits for it (pytorch issue 135712). The number of restarts is no safe prefix, because
    the agents of several machines count differently. So the first process draws the prefix: every other process stores
    a random token, and the first one answers under each token.

    Args:
        rank: Rank of this process.
        size: Number of processes.
        timeout: Longest wait for the others, in seconds.

    Returns:
        The prefix, and the store that puts it before every key.

    Raises:
        FitError: Some processes do not connect in time.
        RuntimeError: This one cannot connect.
    """
    store, _, _ = next(rendezvous("env://", rank, size, timeout=timedelta(seconds=timeout)))
    if rank:
        token = token_hex(8)
        store.set(f"fit/hello/{rank}", token)
        prefix = store.get(f"fit/name/{token}").decode()
        store.add(f"fit/met/{prefix}", 1)
        return prefix, PrefixStore(prefix, store)
    prefix, answered, end = token_hex(8), set(), time.monotonic() + timeout
    while store.add(f"fit/met/{prefix}", 0) < size - 1:
        for other in range(1, size):
            hello = f"fit/hello/{other}"
            if store.check([hello]) and (token := store.get(hello).decode()) not in answered:
                store.set(f"fit/name/{token}", prefix)
                answered.add(token)
        if time.monotonic() > end:
            missing = [f"{other}" for other in range(1, size) if not store.check([f"fit/hello/{other}"])]
            who = f"rank {', '.join(missing)} of {size}" if missing else "a process that answered first"
            raise FitError(f"{who} has not connected within {duration(timeout)}; look at its machine, then start again")
        time.sleep(0.01)
    return prefix, PrefixStore(prefix, store)


def _axis(mesh: DeviceMesh, name: str) -> Axis:
    group = mesh.get_group(name)
    return Axis(dist.get_rank(group), dist.get_world_size(group), group)
