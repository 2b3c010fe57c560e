"""Distributes the images of one command over its processes: each is processed once, and the first has all results.

A process that is free takes the next image, so no process waits for one that has large images. Only results travel, as
plain JSON, through the key-value store by which the processes find each other: there is no collective, so no process
waits for another, however long an image takes.

Finished results are kept beside the output until all are finished. A job that is started again after a process died,
with any number of processes, only processes the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fitcli import console
from fitcli.device.runtime import claim_device
from fitcli.distributed.heartbeat import working_alone
from fitcli.distributed.process_group import TIMEOUT, connected_store, processes, read_world
from fitcli.distributed.world import ALONE, World
from fitcli.errors import FitError

IMAGES = "images"
"""Name under which a queue keeps their number."""

POLL_SECONDS = 0.05
"""Pause between two checks whether other processes have finished, in seconds."""


class ResultStore(Protocol):
    """The methods of `torch.distributed.Store` that the queue uses."""

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which starts at 0, and return its new value."""

    def set(self, key: str, value: str) -> None:
        """Store a value."""

    def get(self, key: str) -> bytes:
        """Return a stored value."""

    def compare_set(self, key: str, expected: str, desired: str) -> bytes:
        """Store a value if the stored one is the expected one; return what is stored then."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all keys have a value."""


class ResultJournal:
    """The finished results of a job, in a folder: one file per process, one line per image.

    Args:
        folder: The folder; created with the first result.
        keys: Per image, a hash of everything that its result depends on; None for a result that is not kept.
        outputs: Per image, the file that belongs to its result; None if there is none. An image without its file counts
            as unfinished.
    """

    def __init__(self, folder: Path, keys: Sequence[str | None], outputs: Sequence[Path | None]) -> None:
        self.folder, self._keys, self._outputs = folder, keys, outputs
        self._results: dict[str, Any] = {}
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    self._results.update(json.loads(line))
                except ValueError:
                    # The last line of a process that was killed.
                    continue

    def recall(self, index: int) -> Any:
        """Return the result of an image that is finished; None for one that is not."""
        key, output = self._keys[index], self._outputs[index]
        return None if key is None or (output is not None and not output.exists()) else self._results.get(key)

    def keep(self, rank: int, index: int, result: Any) -> None:
        """Write a result to the file of a process. It is on the disk when this returns."""
        if (key := self._keys[index]) is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{rank}.jsonl").open("a", encoding="utf-8") as file:
            # The newline comes first: a process that was killed may have left half a line.
            file.write(f"\n{json.dumps({key: result})}\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class ImageQueue:
    """The images of a command, which its processes take one by one.

    Attributes:
        world: The processes, seen from this one.
        store: The key-value store of the processes; None if there is only one.
        complete: Journals of which every image is finished; `close` deletes them.
        tallies: Number of images, and, without a store, numbers of events of this process by name.
        shares_images: Whether the processes share each image: the first one takes all, and the others help.
    """

    world: World = ALONE
    store: ResultStore | None = None
    complete: list[ResultJournal] = field(default_factory=list)
    tallies: Counter[str] = field(default_factory=Counter)
    shares_images: bool = False

    @property
    def count(self) -> int:
        """Number of images; 0 until they are processed."""
        return self.tallies[IMAGES]

    @property
    def restartable(self) -> bool:
        """Whether torchrun started the job, which then may start it again."""
        return self.world is not ALONE

    def tally(self, name: str, events: int = 1) -> int:
        """Count events of all processes by name, and return their number so far; with 0 events, return it alone."""
        if self.store is not None:
            return self.store.add(f"tally {name}", events)
        self.tallies[name] += events
        return self.tallies[name]

    def largest(self, name: str, value: int = 0) -> int:
        """Note a value under a name, and return the largest so far of all processes; values are positive."""
        if self.store is None:
            self.tallies[name] = max(self.tallies[name], value)
            return self.tallies[name]
        key = f"largest {name}"
        found = self.store.add(key, 0)
        while value > found:
            # Another process may have noted a larger one meanwhile.
            found = int(self.store.compare_set(key, str(found), str(value)))
        return found

    def results(self, count: int, do: Callable[[int], Any], journal: ResultJournal | None = None) -> Iterator[Any]:
        """Process every image on one of the processes.

        Args:
            count: Number of images.
            do: Processes image `index`; returns JSON data, or None if unreadable (already reported). None is not kept
                in the journal, so a rerun retries it.
            journal: Finished results, which are not computed again; new ones are added.

        Returns:
            On the first process, the results of all images in their order; nothing on the others.

        Raises:
            FitError: `do` raised it on one of the processes.
        """
        if self.shares_images and not self.world.is_first:
            # This process has helped the first one with its images.
            return
        failed, self.tallies[IMAGES] = False, count
        for result in self._alone(count, do, journal) if self.store is None else self._shared(count, do, journal):
            failed |= result is None
            yield result
        if journal is not None and not failed:
            self.complete.append(journal)

    def _alone(self, count: int, do: Callable[[int], Any], journal: ResultJournal | None) -> Iterator[Any]:
        for index in range(count):
            yield self._one(index, do, journal)

    def _one(self, index: int, do: Callable[[int], Any], journal: ResultJournal | None) -> Any:
        if journal is not None and (kept := journal.recall(index)) is not None:
            return kept
        with working_alone():
            result = do(index)
        if journal is not None and result is not None:
            journal.keep(self.world.rank, index, result)
        return result

    def _shared(self, count: int, do: Callable[[int], Any], journal: ResultJournal | None) -> Iterator[Any]:
        store, yielded = self.store, 0
        assert store is not None
        while (index := store.add("tickets", 1) - 1) < count and not store.check(["failed"]):
            with console.captured() as messages:
                result = self._one(index, do, journal)
            store.set(f"image {index}", json.dumps({"messages": messages, "result": result}))
            while self.world.is_first and yielded < count and store.check([f"image {yielded}"]):
                yield self._receive(yielded)
                yielded += 1
        while self.world.is_first and yielded < count:
            if store.check(["failed"]):
                raise FitError(store.get("failed").decode())
            if store.check([f"image {yielded}"]):
                yield self._receive(yielded)
                yielded += 1
            else:
                time.sleep(POLL_SECONDS)

    def _receive(self, index: int) -> Any:
        """Print the messages about an image, wherever it was processed, and return its result."""
        assert self.store is not None
        message = json.loads(self.store.get(f"image {index}"))
        console.repeat(message["messages"])
        return message["result"]

    def close(self) -> None:
        """Delete the journals that are complete; call after all results are written.

        The first process ends last, since it may own the store.
        """
        if self.world.is_first:
            for journal in self.complete:
                journal.remove()
        if self.store is None:
            return
        gone = self.store.add("gone", 1)
        while self.world.is_first and gone < self.world.size:
            time.sleep(POLL_SECONDS)
            gone = self.store.add("gone", 0)


@contextmanager
def open_queue(device: str, timeout: float = TIMEOUT, group_parallel: int = 1) -> Iterator[ImageQueue]:
    """Connect the processes that torchrun started and give each its own CUDA device.

    Without torchrun there is one process. The first process prints the messages of all. Leave the context after all
    results are written: it then deletes the journals that are complete.

    Args:
        device: The device as the user names it, see `choose_runtime`.
        timeout: Seconds without a sign of life after which a process counts as lost; 0 to wait for ever.
        group_parallel: Number of processes that share each image: 1, or all.

    Raises:
        DeviceError: There are more processes than devices.
        FitError: The processes cannot connect, or only some of them would share an image.
    """
    own = read_world()
    if group_parallel > 1:
        with _sharing_each_image(own, device, timeout, group_parallel) as queue:
            yield queue
        return
    if own.size == 1:
        yield (queue := ImageQueue(own))
        queue.close()
        return
    with nullcontext() if own.is_first else console.muted(), connected_store(own, timeout) as store:
        try:
            claim_device(device, own.local_rank, own.local_size)
            yield (queue := ImageQueue(own, store))
            queue.close()
        except FitError as error:
            if own.is_first:
                raise
            store.set("failed", str(error))
            raise SystemExit(1) from error
        except KeyboardInterrupt as stop:
            if own.is_first:
                raise
            raise SystemExit(130) from stop


@contextmanager
def _sharing_each_image(own: World, device: str, timeout: float, group_parallel: int) -> Iterator[ImageQueue]:
    if own.size > group_parallel:
        error = FitError(
            f"--group-parallel {group_parallel}: a command over images shares each of them between all processes of "
            f"the job, and there are {own.size}; give --group-parallel {own.size}, or start {group_parallel} processes"
        )
        raise error if own.is_first else SystemExit(1)
    with processes(device, group_parallel, timeout) as world:
        yield (queue := ImageQueue(world, shares_images=True))
        if world.is_first:
            world.broadcast(None)
        queue.close()
