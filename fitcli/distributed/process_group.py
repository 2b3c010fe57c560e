"""Starts the processes of one job and ends them: how they find each other, and how they fail together.

`torchrun` starts the processes and says in their environment which is which.
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
"""What torchrun says to each process."""

TIMEOUT = timedelta(hours=2)
"""That a process waits for the others: one may validate much larger images. torchrun notices at once when one dies."""


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
        if isinstance(error, FitError) and not isinstance(error, UnrecoverableRankError):
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
            except UnrecoverableRankError:
                raise
            except FitError as error:
                # The others get it in the place of what they wait for; or have met the same error at the same place.
                try:
                    everyone.gather_results(partial(_fail, error))
                except PeerLost:
                    raise error from None
    except FitError as error:
        if everyone.is_first or isinstance(error, UnrecoverableRankError):
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
