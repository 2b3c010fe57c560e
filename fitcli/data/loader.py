"""Batches of patches, read ahead in threads. What a batch holds follows from (seed, epoch, position) alone.

Threads, not processes: decoding and copying release the interpreter, and pixels need not cross a process border.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fitcli.data.bad_images import Attempt, BadImage, BadImages, first_good
from fitcli.data.batch import Batch, Item, collate
from fitcli.data.dataset import Sample
from fitcli.data.read_item import Reading, read_item
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from models.groups import Gather, Groups

AHEAD = 3
"""Batches that are read while one is computed; for a CUDA device, beside one that is joined."""

CPU = torch.device("cpu")


class _Joined(NamedTuple):
    """A batch, and the images that failed on the way; None where there is none for one of them, which is the last."""

    batch: Batch | None
    failed: list[BadImage]


_Reading = list[Future[Attempt[Item]]]
"""The images of a batch."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads training batches.

    Who does not go on to the end has to close what `batches` and `fixed` give, for their threads to end: they must not
    wait for the garbage collector, which may run in a thread that those would wait for.

    Attributes:
        samples: The training images.
        reading: How images are read.
        batch_size: Images per batch, over all processes.
        threads: That read at the same time.
        bad_images: Where images that cannot be used are counted.
        share: The processes that read a part of each batch each: images that follow each other, as many for each.
        group_share: The processes that read a part of the groups of each image each, see `models.groups.span`.
        gather: How the latents of their groups come together; needed where they are several.
        device: That training batches are for. For a CUDA device they are joined and pinned early, in a thread.
    """

    samples: Sequence[Sample]
    reading: Reading
    batch_size: int
    threads: int = 2
    bad_images: BadImages = field(default_factory=BadImages)
    share: Axis = field(default_factory=Axis)
    group_share: Axis = field(default_factory=Axis)
    gather: Gather | None = None
    device: torch.device = CPU
    _strata: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        strata = np.array([self.reading.targets.stratum(sample) for sample in self.samples], dtype=np.int64)
        object.__setattr__(self, "_strata", strata)

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Batches number `start` ... `stop - 1`, in order, counted over all epochs; of each the part of this process.

        In place of an image that cannot be used stands another of its class, as random as (seed, epoch, position).

        Raises:
            TooManyBadImages: There are more than are put up with.
        """
        with ThreadPoolExecutor(1, "joined") as pool, closing(self._reading(start, stop)) as reading:
            if self.device.type != "cuda":
                yield from map(self._counted, map(self._joined, reading))
                return

            def join(images: _Reading) -> Future[_Joined]:
                return pool.submit(self._joined, images)

            # Not a loop: its variable would hold images that are joined already.
            joining = map(join, reading)
            current = next(joining, None)
            while current is not None:
                following = next(joining, None)
                yield replace(self._counted(current.result()), following=partial(_if_there, following))
                current = following

    def _reading(self, start: int, stop: int) -> Generator[_Reading, None, None]:
        """The images of batch after batch, read ahead."""
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            pending: deque[_Reading] = deque()
            try:
                for number in range(start, stop + AHEAD):
                    if number < stop:
                        items = self._positions(number)
                        pending.append([pool.submit(self._read_one, epoch, index) for epoch, index in items])
                    if number >= start + AHEAD and pending:
                        yield pending.popleft()
                while pending:
                    yield pending.popleft()
            except GeneratorExit:
                # Nobody wants the rest. At the end, on the contrary, the last batches may still be read.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def fixed(self) -> Generator[Batch]:
        """Every image once that can be used, in order, always the same: for validation. Processes take turns.

        Raises:
            TooManyBadImages: Others are more than are put up with.
            DataError: None can be used, by the only process.
        """
        own = range(self.share.rank, len(self.samples), self.share.size)
        size, found = max(1, self.batch_size // self.share.size), self.share.size > 1
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            for start in range(0, len(own), size):
                chosen = own[start : start + size]
                attempts = list(pool.map(self._read_fixed, chosen))
                self._count(attempts)
                if items := [attempt.result for attempt in attempts if attempt.result is not None]:
                    found = True
                    yield self._collate(items)
        if not found:
            raise DataError(f"{attempts[0].failed[0].error}; no other validation image can be used either")

    def _positions(self, number: int) -> list[tuple[int, int]]:
        """(epoch, sample) of each image of a batch that this process reads.

        The images are one endless row of permutations, one per epoch.
        """
        images, size = len(self.samples), self.batch_size // self.share.size
        start = number * self.batch_size + self.share.rank * size
        places = [divmod(place, images) for place in range(start, start + size)]
        orders = {epoch: self._order(epoch) for epoch, _ in places}
        return [(epoch, int(orders[epoch][place])) for epoch, place in places]

    def _order(self, epoch: int) -> np.ndarray[Any, Any]:
        """A random order in which the classes are spread evenly: small batches hold about equal shares of each.

        What a batch has in excess of one class would swamp what little a needle in a haystack has to say at first.
        """
        rng = np.random.default_rng([self.reading.rules.seed, 1, epoch])
        strata = self._strata
        places = np.empty(len(strata))
        for stratum in np.unique(strata):
            members = rng.permutation(np.flatnonzero(strata == stratum))
            places[members] = (np.arange(len(members)) + rng.random()) / len(members)
        return np.argsort(places, kind="stable")

    def _read_one(self, epoch: int, index: int) -> Attempt[Item]:
        paths = chain([self.samples[index].path], self._replacements(epoch, index))
        return first_good(partial(self._read, epoch, index), paths, self.bad_images.most)

    def _read_fixed(self, index: int) -> Attempt[Item]:
        return first_good(partial(self._read, 0, index), [self.samples[index].path], 0)

    def _replacements(self, epoch: int, index: int) -> Iterator[Path]:
        """The other images of the class, in a random order."""
        members = np.flatnonzero(self._strata == self._strata[index])
        others = members[members != index]
        for number in np.random.default_rng([self.reading.rules.seed, 4, epoch, index]).permutation(others):
            yield self.samples[number].path

    def _joined(self, reading: _Reading) -> _Joined:
        """Of images in whose place others were tried already. Runs in any thread: nothing is counted."""
        attempts = [future.result() for future in reading]
        items, failed = [], list[BadImage]()
        for attempt in attempts:
            failed += attempt.failed
            if attempt.result is not None:
                items.append(attempt.result)
        if len(items) < len(attempts):
            hopeless = next(attempt.failed[0] for attempt in attempts if attempt.result is None)
            return _Joined(None, [*failed, hopeless])
        return _Joined(self._collate(items).pinned(self.device), failed)

    def _counted(self, joined: _Joined) -> Batch:
        self.bad_images.add(joined.failed)
        if joined.batch is None:
            raise DataError(f"{joined.failed[-1].error}; no other image of its class can be used")
        return joined.batch

    def _collate(self, items: list[Item]) -> Batch:
        groups = Groups.join([item.place.groups for item in items])
        if self.gather is not None:
            groups = groups.share_of(self.group_share.rank, self.group_share.size, self.gather)
        return collate(items, groups, self.reading.targets.join([item.target for item in items]))

    def _count(self, attempts: list[Attempt[Item]]) -> None:
        self.bad_images.add(bad for attempt in attempts for bad in attempt.failed)

    def _read(self, epoch: int, index: int, path: Path) -> Item:
        """The image in a file in the place of a sample."""
        return read_item(self.reading, self._sample(index, path), epoch, index, self.group_share)

    def _sample(self, index: int, path: Path) -> Sample:
        """What is said of an image, which may stand in the place of another."""
        own = self.samples[index]
        return own if own.path == path else next(sample for sample in self.samples if sample.path == path)


def _if_there(joining: Future[_Joined] | None) -> Batch | None:
    """A batch that is joined by now. What went wrong is told in its turn."""
    if joining is None or not joining.done() or joining.cancelled() or joining.exception() is not None:
        return None
    return joining.result().batch
