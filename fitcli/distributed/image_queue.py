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
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from fitcli import __version__, console
from fitcli.device.runtime import Runtime, claim_device
from fitcli.distributed.process_group import meeting, world
from fitcli.distributed.world import ALONE, World
from fitcli.errors import FitError
from fitcli.images.open import stored_bytes
from fitcli.runs.weights import Checkpoint, model_hash
from fitcli.tasks.encoding.encode import EncodingSettings

POLL_SECONDS = 0.05
"""Between two looks at whether others are done."""


class ResultStore(Protocol):
    """What the processes share: a `torch.distributed.ResultStore`."""

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which begins at 0; its new value."""

    def set(self, key: str, value: str) -> None:
        """Put a value there."""

    def get(self, key: str) -> bytes:
        """A value that is there."""

    def check(self, keys: list[str]) -> bool:
        """Whether values are there."""


class ResultJournal:
    """What is done of a job, in a folder: a file per process, a line per image.

    Args:
        folder: Made when the first result is kept.
        keys: What the result of each image depends on, see `Sharing.ledger`; None where that is not known.
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


def _key(path: Path, job: Any) -> str | None:
    """A hash of a file as it is now and of what is done with it; None where there is no such file."""
    try:
        file = [os.path.realpath(path), stored_bytes(path), path.stat().st_mtime_ns]
    except OSError:
        return None
    return sha256(json.dumps([__version__, file, job], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sharing:
    """The processes that share the images of a command, seen from one of them.

    Attributes:
        world: Who they are.
        store: What they share; None where there is one process.
        complete: Ledgers of which nothing is left to do.
    """

    world: World = ALONE
    store: ResultStore | None = None
    complete: list[ResultJournal] = field(default_factory=list)

    def ledger(
        self,
        command: str,
        checkpoint: Checkpoint[Any],
        runtime: Runtime,
        settings: EncodingSettings,
        paths: Sequence[Path],
        outputs: Sequence[Path | None],
        *,
        output: Path | None,
        details: Mapping[str, Any] | None = None,
        per_image: Sequence[Any] | None = None,
    ) -> ResultJournal | None:
        """What is done of a job that torchrun started: in the folder of `--state`, else beside the output.

        Args:
            command: What is done.
            checkpoint, runtime, settings: With what.
            paths: Of the images.
            outputs: A file that is made for each.
            output: Where all results go.
            details: What else results depend on.
            per_image: The same, for each image.

        Returns:
            None where the job was not started by torchrun, or where there is no such place.
        """
        if self.world is ALONE or (output is None and settings.state is None):
            return None
        if settings.state is not None:
            folder = settings.state / "done"
        else:
            assert output is not None
            folder = output.absolute().with_name(f".{output.name}.done")
        threshold = settings.threshold(checkpoint.config)
        job = [command, model_hash(checkpoint), runtime.device.type, runtime.arithmetic, threshold, details]
        jobs = [job] * len(paths) if per_image is None else [[*job, each] for each in per_image]
        keys = [_key(path, each) for path, each in zip(paths, jobs, strict=True)]
        return ResultJournal(folder, keys, outputs)

    def each(self, count: int, do: Callable[[int], Any], ledger: ResultJournal | None = None) -> Iterator[Any]:
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
        if ledger is not None and not failed:
            self.complete.append(ledger)

    def _alone(self, count: int, do: Callable[[int], Any], ledger: ResultJournal | None) -> Iterator[Any]:
        for number in range(count):
            yield self._one(number, do, ledger)

    def _one(self, number: int, do: Callable[[int], Any], ledger: ResultJournal | None) -> Any:
        if ledger is not None and (known := ledger.recall(number)) is not None:
            return known
        result = do(number)
        if ledger is not None and result is not None:
            ledger.keep(self.world.rank, number, result)
        return result

    def _shared(self, count: int, do: Callable[[int], Any], ledger: ResultJournal | None) -> Iterator[Any]:
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

    def close(self) -> None:
        """The results are safe. The first process ends last: the store may be its own."""
        if self.world.is_first:
            for ledger in self.complete:
                ledger.remove()
        if self.store is None:
            return
        gone = self.store.add("gone", 1)
        while self.world.is_first and gone < self.world.size:
            time.sleep(POLL_SECONDS)
            gone = self.store.add("gone", 0)


@contextmanager
def sharing(device: str) -> Iterator[Sharing]:
    """The processes that `torchrun` started, each with a CUDA device of its own; one alone without it.

    Only the first says anything, also what goes wrong on the others. What is kept of a job that is done is forgotten at
    the end of the context: let it end when all results are written.

    Args:
        device: As the user names it, see `choose_runtime`.

    Raises:
        DeviceError: There are more processes than devices.
    """
    found = world()
    if found.size == 1:
        yield (shared := Sharing(found))
        shared.close()
        return
    store = meeting(found.rank, found.size)
    try:
        with nullcontext() if found.is_first else console.muted():
            claim_device(device, found.local_rank, found.local_size)
            yield (shared := Sharing(found, store))
            shared.close()
    except FitError as error:
        if found.is_first:
            raise
        store.set("failed", str(error))
        raise SystemExit(1) from error
    except KeyboardInterrupt as stop:
        if found.is_first:
            raise
        raise SystemExit(130) from stop
