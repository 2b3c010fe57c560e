"""Many images shared among the processes of one command: each is done once, and the first process has all results.

Whoever is free takes the next image, so that no process waits for one that has large images. Only results travel, as
plain JSON, through the key-value store by which the processes found each other: no process waits for another in a
collective, however long an image takes.

What is done is kept beside the output until everything is: a job that is started again after a process died, with
however many processes, does the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch.distributed as dist

from fitcli import __version__, console
from fitcli.distributed import ALONE, World, world
from fitcli.errors import FitError
from fitcli.images.open import stored_bytes
from fitcli.runtime import claim_device

POLL_SECONDS = 0.05
"""Between two looks at whether others are done."""


class Ledger:
    """What is done of a job, in a folder: a file per process, a line per image.

    Args:
        folder: Made when the first result is kept.
        keys: What the result of each image depends on, see `image_key`; None where that is not known.
        outputs: A file that belongs to each result: without it the image is not done.
    """

    def __init__(self, folder: Path, keys: Sequence[str | None], outputs: Sequence[Path | None]) -> None:
        self.folder, self._keys, self._outputs = folder, keys, outputs
        self._known: dict[str, Any] = {}
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.read_text(encoding="utf-8").splitlines():
                try:
                    self._known.update(json.loads(line))
                except ValueError:
                    # The last line of a process that was killed.
                    continue

    def recall(self, number: int) -> Any:
        """The result of an image that was done before; None where it was not."""
        key, output = self._keys[number], self._outputs[number]
        return None if key is None or (output is not None and not output.exists()) else self._known.get(key)

    def keep(self, rank: int, number: int, result: Any) -> None:
        """Remember a result, also after the end of the process."""
        if (key := self._keys[number]) is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{rank}.jsonl").open("a", encoding="utf-8") as file:
            # A line of its own, whatever a process that was killed left in the file.
            file.write(f"\n{json.dumps({key: result})}\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Forget everything: all is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def image_key(path: Path, job: Mapping[str, Any]) -> str | None:
    """What a result depends on, as a hash: the file as it is now, and the job. None where there is no such file."""
    try:
        state = [str(path.resolve()), stored_bytes(path), path.stat().st_mtime_ns]
    except OSError:
        return None
    return sha256(json.dumps([__version__, state, dict(job)], sort_keys=True).encode()).hexdigest()


def ledger_folder(output: Path | None, state: Path | None) -> Path | None:
    """Where what is done is kept: in the folder for states, else beside the output; None without either."""
    if state is not None:
        return state / "done"
    return None if output is None else output.absolute().with_name(f".{output.name}.done")


@dataclass(frozen=True, slots=True)
class Sharing:
    """The processes that share the images of a command, seen from one of them.

    Attributes:
        world: Who they are.
        store: What they share; None where there is one process.
    """

    world: World = ALONE
    store: dist.Store | None = None

    def each(self, count: int, do: Callable[[int], Any], ledger: Ledger | None = None) -> Iterator[Any]:
        """Do every image on one of the processes.

        Args:
            count: Of the images.
            do: Gives what is known of an image, by its number, as JSON data; or None, after saying why, where it cannot
                be used: such an image is not done, and is tried again when the job is.
            ledger: Where what is done is kept until all is.

        Returns:
            What `do` gives of all images, in their order, on the first process; nothing on the others.

        Raises:
            FitError: On one of the processes.
        """
        failed = False
        for result in self._alone(count, do, ledger) if self.store is None else self._shared(count, do, ledger):
            failed |= result is None
            yield result
        if ledger is not None and self.world.is_first and not failed:
            ledger.remove()

    def _alone(self, count: int, do: Callable[[int], Any], ledger: Ledger | None) -> Iterator[Any]:
        for number in range(count):
            yield self._one(number, do, ledger)

    def _one(self, number: int, do: Callable[[int], Any], ledger: Ledger | None) -> Any:
        if ledger is not None and (known := ledger.recall(number)) is not None:
            return known
        result = do(number)
        if ledger is not None and result is not None:
            ledger.keep(self.world.rank, number, result)
        return result

    def _shared(self, count: int, do: Callable[[int], Any], ledger: Ledger | None) -> Iterator[Any]:
        store, given = self.store, 0
        assert store is not None
        while (number := store.add("tickets", 1) - 1) < count and not store.check(["failed"]):
            with console.captured() as said:
                result = self._one(number, do, ledger)
            store.set(f"image {number}", json.dumps({"said": said, "result": result}))
            while self.world.is_first and given < count and store.check([f"image {given}"]):
                yield self._letter(given)
                given += 1
        while self.world.is_first and given < count:
            if store.check(["failed"]):
                raise FitError(store.get("failed").decode())
            if store.check([f"image {given}"]):
                yield self._letter(given)
                given += 1
            else:
                time.sleep(POLL_SECONDS)

    def _letter(self, number: int) -> Any:
        """The result of an image, wherever it was done, after saying what was said there."""
        assert self.store is not None
        letter = json.loads(self.store.get(f"image {number}"))
        console.repeat(letter["said"])
        return letter["result"]

    def leave(self) -> None:
        """The first process ends last: the store may be its own."""
        if self.store is None:
            return
        gone = self.store.add("gone", 1)
        while self.world.is_first and gone < self.world.size:
            time.sleep(POLL_SECONDS)
            gone = self.store.add("gone", 0)


@contextmanager
def sharing(device: str) -> Iterator[Sharing]:
    """The processes that `torchrun` started, each with a CUDA device of its own; one alone without it.

    Only the first says anything, also what goes wrong on the others.

    Args:
        device: As the user names it, see `choose_runtime`.

    Raises:
        DeviceError: There are more processes than devices.
    """
    found = world()
    if found.size == 1:
        yield Sharing(found)
        return
    store = next(dist.rendezvous("env://", found.rank, found.size))[0]
    if not found.is_first:
        console.silence()
    try:
        claim_device(device, found.local_rank, found.local_size)
        shared = Sharing(found, store)
        yield shared
    except FitError as error:
        if not found.is_first:
            store.set("failed", str(error))
        raise
    shared.leave()
