"""Reads batches ahead in threads. The contents of a batch follow from (seed, epoch, position) alone.

Threads, not processes: decoding and copying release the GIL, and pixels need no copy between processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fitcli.data.bad_images import Attempt, BadImage, BadImages, first_good
from fitcli.data.batch import Batch, Item, collate
from fitcli.data.dataset import Sample
from fitcli.data.read_item import Reading, read_item
from fitcli.distributed.heartbeat import working_alone
from fitcli.distributed.world import Axis
from fitcli.errors import DataError
from fitcli.process.limits import available_cores
from models.groups import Gather, Groups

LEAST_THREADS, MOST_THREADS = 2, 16
"""Limits of the number of images that a process reads at the same time, unless the user gives another."""

AHEAD_BYTES = 1 << 30
"""Size of the pixels beyond which fewer images are read ahead."""

CPU = torch.device("cpu")


def reader_threads(processes: int = 1) -> int:
    """Return how many images each of several processes of a machine reads at once: as many as it has cores."""
    return min(max(LEAST_THREADS, available_cores() // processes), MOST_THREADS)


def images_ahead(batch: int, threads: int, image_bytes: int = 1, most_bytes: int = AHEAD_BYTES) -> int:
    """Return how many images are read, or being read, while a batch is computed.

    One batch, so that the next step need not wait, and as many as there are threads, so that these need not wait
    either; if their pixels take too much memory, fewer, but one batch.

    Args:
        batch: Images of the batch of a process.
        threads: Number of images that are read at the same time.
        image_bytes: Size of the pixels of the largest image.
        most_bytes: Memory for pixels that are read ahead.
    """
    return max(batch, min(batch + threads, most_bytes // image_bytes))


class _Joined(NamedTuple):
    """A joined batch.

    Attributes:
        batch: The batch; None if an image has no usable replacement.
        failed: Unusable images that were met. If `batch` is None, the last is the one without a replacement.
    """

    batch: Batch | None
    failed: list[BadImage]


_PendingItems = list[Future[Attempt[Item]]]
"""The images of a batch that are being read."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads training batches.

    Close the generators of `batches` and `fixed` if you stop early. Left to the garbage collector, their threads can
    deadlock: it may run in a thread that they wait for.

    Attributes:
        samples: The training images.
        reading: Rules by which images are read.
        batch_size: Images per batch, over all processes.
        threads: Number of images that are read at the same time.
        bad_images: Counter of unusable images.
        share: The processes that divide each batch: each reads as many consecutive images.
        group_share: The processes that divide the groups of each image, see `models.groups.span`.
        gather: Gathers the latents of all groups; required if `group_share` has several processes.
        device: Device that training batches are for. For a CUDA device, a thread joins and pins them ahead.
        ahead: Number of images that are read, or being read, while a batch is computed, see `images_ahead`; None where
            memory is no concern. For a CUDA device, one more batch is being joined.
    """

    samples: Sequence[Sample]
    reading: Reading
    batch_size: int
    threads: int = field(default_factory=reader_threads)
    bad_images: BadImages = field(default_factory=BadImages)
    share: Axis = field(default_factory=Axis)
    group_share: Axis = field(default_factory=Axis)
    gather: Gather | None = None
    device: torch.device = CPU
    ahead: int | None = None
    _strata: NDArray[np.int64] = field(init=False, repr=False)
    _orders: dict[int, NDArray[np.int64]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        strata = np.array([self.reading.targets.stratum(sample) for sample in self.samples], dtype=np.int64)
        object.__setattr__(self, "_strata", strata)

    def batches(self, start: int, stop: int) -> Generator[Batch]:
        """Yield this process's part of batches `start` ... `stop - 1`, counted over all epochs.

        Another image of its stratum replaces an unusable one; the choice follows from (seed, epoch, position).

        Raises:
            TooManyBadImages: More images are unusable than `bad_images` allows.
            DataError: A stratum has no usable image left.
        """
        with ThreadPoolExecutor(1, "joined") as pool, closing(self._pending_items(start, stop)) as pending:
            if self.device.type != "cuda":
                yield from map(self._counted, map(self._joined, pending))
                return

            def join(images: _PendingItems) -> Future[_Joined]:
                return pool.submit(self._joined, images)

            # `map`, not a `for` loop, whose variable would keep joined images alive.
            joining = map(join, pending)
            current = next(joining, None)
            while current is not None:
                following = next(joining, None)
                yield replace(self._counted(current.result()), following=partial(_batch_if_ready, following))
                current = following

    def _pending_items(self, start: int, stop: int) -> Generator[_PendingItems, None, None]:
        """Yield the images of one batch after the other, and read the next ones ahead."""
        size = self.batch_size // self.share.size
        ahead = images_ahead(size, self.threads) if self.ahead is None else self.ahead
        items = chain.from_iterable(map(self._positions, range(start, stop)))
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            pending: deque[Future[Attempt[Item]]] = deque()
            try:
                for _ in range(start, stop):
                    for epoch, index in islice(items, size + ahead - len(pending)):
                        pending.append(pool.submit(self._read_one, epoch, index))
                    yield [pending.popleft() for _ in range(size)]
            except GeneratorExit:
                # Cancel only if the consumer stops early: after the last `yield`, the last batches may still be read.
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def fixed(self) -> Generator[Batch]:
        """Yield every usable image once, in order, always in the same way: for validation.

        Each of several processes gets every n-th image.

        Raises:
            TooManyBadImages: More images are unusable than `bad_images` allows.
            DataError: A single process finds no usable image.
        """
        own = range(self.share.rank, len(self.samples), self.share.size)
        size, may_end = max(1, self.batch_size // self.share.size), self.share.size > 1
        with ThreadPoolExecutor(self.threads, "loader") as pool:
            for start in range(0, len(own), size):
                chosen = own[start : start + size]
                attempts = list(pool.map(self._read_fixed, chosen))
                self._count(attempts)
                if items := [attempt.result for attempt in attempts if attempt.result is not None]:
                    may_end = True
                    yield self._collate(items)
        if not may_end:
            raise DataError(f"{attempts[0].failed[0].error}; no other validation image can be used either")

    def _positions(self, number: int) -> list[tuple[int, int]]:
        """Return (epoch, sample) of each image of a batch that this process reads.

        Batches are consecutive slices of an endless sequence: one permutation of the samples per epoch.
        """
        images, size = len(self.samples), self.batch_size // self.share.size
        start = number * self.batch_size + self.share.rank * size
        places = [divmod(place, images) for place in range(start, start + size)]
        return [(epoch, int(self._kept_order(epoch)[place])) for epoch, place in places]

    def _kept_order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order of an epoch. It is kept until the next one: in large data sets it takes long to draw."""
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = self._order(epoch)
        return self._orders[epoch]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """Return a random order of the samples in which the strata are spread evenly.

        So every small batch holds each class in about its overall proportion. A batch with more of one class would have
        a gradient that drowns the weak signal of small objects early in training.
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
        return first_good(partial(self._read, epoch, index), paths, self.bad_images.allowed)

    def _read_fixed(self, index: int) -> Attempt[Item]:
        return first_good(partial(self._read, 0, index), [self.samples[index].path], 0)

    def _replacements(self, epoch: int, index: int) -> Iterator[Path]:
        """Yield the other images of the stratum in a random order."""
        members = np.flatnonzero(self._strata == self._strata[index])
        others = members[members != index]
        for number in np.random.default_rng([self.reading.rules.seed, 4, epoch, index]).permutation(others):
            yield self.samples[number].path

    def _joined(self, pending: _PendingItems) -> _Joined:
        """Join images, whose replacements were already tried. Counts nothing, because it runs in any thread."""
        with working_alone():
            attempts = [future.result() for future in pending]
        items, failed = [], list[BadImage]()
        for attempt in attempts:
            failed += attempt.failed
            if attempt.result is not None:
                items.append(attempt.result)
        if len(items) < len(attempts):
            unreplaced = next(attempt.failed[0] for attempt in attempts if attempt.result is None)
            return _Joined(None, [*failed, unreplaced])
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
        """Read a file in the place of sample `index`."""
        return read_item(self.reading, self._sample(index, path), epoch, index, self.group_share)

    def _sample(self, index: int, path: Path) -> Sample:
        """Return sample `index`, or the one of another file that replaces it."""
        own = self.samples[index]
        return own if own.path == path else next(sample for sample in self.samples if sample.path == path)


def _batch_if_ready(joining: Future[_Joined] | None) -> Batch | None:
    """Return a batch if it is joined by now, else None. An error is raised when it is the batch's turn."""
    if joining is None or not joining.done() or joining.cancelled() or joining.exception() is not None:
        return None
    return joining.result().batch
