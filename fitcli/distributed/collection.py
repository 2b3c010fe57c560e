"""Hands values that the processes of a job compute for their groups of one image to the first process, in order.

Each other process keeps its values in a store until its turn comes, so the first one holds a handful of them at a time.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from fitcli.distributed.heartbeat import exchanging
from fitcli.distributed.world import World
from fitcli.streaming.sweeps import Sink, Streaming
from fitcli.streaming.token_store import TokenStore
from models.groups import span


class Collection:
    """Values [g n v] of all groups of an image. Leave the context, or `close`, to release them.

    Args:
        team: The processes that share the image; each has the run of the groups that `span` says.
        count: Number of groups of the image.
        how: Size of a handful, and kind of the store.
        device: Device that computes.
        sink: Takes the values of all groups, in order, on the first process; the others do not call it.
    """

    def __init__(self, team: World, count: int, how: Streaming, device: torch.device, sink: Sink) -> None:
        self._team, self._count, self._how, self._device, self._sink = team, count, how, device, sink
        self._own = span(count, team.rank, team.size)
        self._store: TokenStore | None = None
        self._like: tuple[torch.Size, torch.dtype] | None = None

    def put(self, part: slice, values: Tensor) -> None:
        """Take the values [part n v] of a slice of the groups of this process, on the device."""
        if self._team.is_first:
            self._sink(part, values)
            return
        if self._store is None:
            _, n, v = values.shape
            self._like = values.shape[1:], values.dtype
            shape = (self._own.stop - self._own.start, n, v)
            self._store = self._how.open_store(shape, values.dtype, self._device)
        self._store.put(part, values)

    def finish(self) -> None:
        """Hand the values of the other processes to the sink of the first. Collective.

        Raises:
            FitError: The values cannot be read or taken; on all processes.
        """
        for rank, like in enumerate(self._team.gather(self._like)):
            # A process without groups has put nothing.
            if rank and like is not None:
                self._receive(rank, *like)

    def close(self) -> None:
        """Release the values. Idempotent."""
        if self._store is not None:
            self._store.close()

    def _receive(self, rank: int, shape: torch.Size, dtype: torch.dtype) -> None:
        theirs = span(self._count, rank, self._team.size)
        for part in self._how.slices(theirs.stop, theirs.start):
            own = slice(part.start - theirs.start, part.stop - theirs.start)
            values = self._team.run_on_all(lambda own=own: self._get(own) if rank == self._team.rank else None)  # type: ignore[misc]
            if self._team.is_first:
                values = torch.empty(part.stop - part.start, *shape, dtype=dtype, device=self._device)
                with exchanging():
                    dist.recv(values, rank)
            elif values is not None:
                with exchanging():
                    dist.send(values, 0)
            self._team.run_on_all(lambda part=part, values=values: self._take(part, values))  # type: ignore[misc]

    def _get(self, part: slice) -> Tensor:
        assert self._store is not None
        return self._store.get(part).contiguous()

    def _take(self, part: slice, values: Tensor | None) -> None:
        if self._team.is_first and values is not None:
            self._sink(part, values)
