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
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from fitcli import console
from fitcli.device.runtime import claim_device
from fitcli.distributed.world import ALONE, Axis, PeerLost, UnrecoverableRankError, World
from fitcli.errors import FitError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that torchrun sets for each process."""

TIMEOUT = timedelta(hours=2)
"""Longest wait for the other processes: one of them may validate much larger images. torchrun notices a dead process
at once.
"""

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
def processes(device: str = "auto", group_parallel: int = 1) -> Iterator[World]:
    """Connect the processes of the job while the context lasts. Without torchrun there is one process.

    Each process of a machine gets a CUDA device of its own, which `choose_runtime` then returns. Only the first process
    prints; the others exit silently when the first one reports an error.

    Args:
        device: The device as the user names it, see `choose_runtime`.
        group_parallel: Number of processes that share an image.

    Raises:
        FitError: `group_parallel` does not divide the number of processes, or the processes cannot connect.
        DeviceError: There are more processes than devices.
    """
    own = read_world()
    if group_parallel < 1 or own.size % group_parallel:
        raise FitError(
            f"--group-parallel {group_parallel}: does not divide the {own.size} "
            f"process{'es' if own.size > 1 else ''} of this job; start a multiple of it with torchrun"
        )
    if own is ALONE:
        yield own
        return
    kind = claim_device(device, own.local_rank, own.local_size)
    backends = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    try:
        store = connect_store(own.rank, own.size)
        dist.init_process_group(backends, store=store, rank=own.rank, world_size=own.size, timeout=TIMEOUT)
        messages = dist.new_group(timeout=TIMEOUT, backend="gloo") if kind == "cuda" else None
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise FitError(
            f"the processes of this job cannot connect ({reason}); "
            "check that all machines can reach the address in MASTER_ADDR and MASTER_PORT"
        ) from error
    shape = (own.size // group_parallel, group_parallel)
    mesh = init_device_mesh(kind, shape, mesh_dim_names=("data", "groups"))
    world = replace(own, data=_axis(mesh, "data"), groups=_axis(mesh, "groups"), mesh=mesh, messages=messages)
    try:
        with _propagate_errors(world):
            yield world
    except Exception as error:
        # On an unexpected exception other ranks may be blocked in a collective: don't destroy the process group, which
        # could wait for them; exit and let torchrun kill them.
        if isinstance(error, FitError) and not isinstance(error, UnrecoverableRankError):
            _disconnect()
        raise
    except BaseException:
        _disconnect()
        raise
    _disconnect()


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


def connect_store(rank: int, size: int) -> Store:
    """Connect to the key-value store of the job, under a prefix that no earlier start of the job has used.

    The agent of torchrun keeps its store when it restarts the processes, with the addresses of the dead ones: a process
    that reads such an address waits for it (pytorch issue 135712). The number of restarts is no safe prefix, because
    the agents of several machines count differently. So the first process draws the prefix: every other process stores
    a random token, and the first one answers under each token.
    """
    store, _, _ = next(rendezvous("env://", rank, size, timeout=TIMEOUT))
    if rank:
        token = token_hex(8)
        store.set(f"fit/hello/{rank}", token)
        prefix = store.get(f"fit/name/{token}").decode()
        store.add(f"fit/met/{prefix}", 1)
        return PrefixStore(prefix, store)
    prefix, answered = token_hex(8), set()
    while store.add(f"fit/met/{prefix}", 0) < size - 1:
        for other in range(1, size):
            hello = f"fit/hello/{other}"
            if store.check([hello]) and (token := store.get(hello).decode()) not in answered:
                store.set(f"fit/name/{token}", prefix)
                answered.add(token)
        time.sleep(0.01)
    return PrefixStore(prefix, store)


def _axis(mesh: DeviceMesh, name: str) -> Axis:
    group = mesh.get_group(name)
    return Axis(dist.get_rank(group), dist.get_world_size(group), group)
