"""Notices a process of a job that gives no sign of life, and ends this one with a line that names it.

A process that waits in a collective cannot be interrupted, and does not learn why nobody answers. So each process has
two threads: one writes a counter to the store of the job and reads those of the others, and one watches whether the
store answers. A stopped process, a machine without power and a broken network stop the counter. A process that waits
for the others, or works however long on an image, goes on counting and is not blamed.

A counter alone does not show that a process waits for a disk that never answers. Work that needs no other process is
therefore marked (`working_alone`): during it, the process counts only if it has used CPU time since the last time.

Never imports torch: the command line shows the default of `--timeout`.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from fitcli import console

TIMEOUT_MINUTES = 10.0
"""Minutes without a sign of life after which a process counts as lost, by default."""

LONGEST_PAUSE = 15.0
"""Longest time between two signs, in seconds."""

SIGNS_PER_TIMEOUT = 10
"""Least number of signs within the timeout."""

LEAST_WORK = 1e-3
"""CPU time between two signs that counts as work, in seconds."""

GRACE = 1.0
"""Time that the process which prints has before the others end, in seconds: torchrun then ends it, too."""

LEFT = "left"
"""Sign of a process that has finished its part."""


class SignStore(Protocol):
    """The methods of `torch.distributed.Store` that signs need."""

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which starts at 0, and return its new value."""

    def set(self, key: str, value: str) -> None:
        """Store a value."""

    def get(self, key: str) -> bytes:
        """Return a stored value."""

    def multi_get(self, keys: list[str]) -> list[bytes]:
        """Return stored values."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all keys have a value."""


class Silence:
    """For how long each of several processes has given no sign, as an observer sees it.

    Only time counts in which the observer itself ran: a job that is stopped and continued as a whole blames nobody.

    Args:
        size: Number of processes.
        now: Time on the clock of the observer, in seconds.
        pause: Usual time between two observations, in seconds.
    """

    def __init__(self, size: int, now: float, pause: float) -> None:
        self.seconds = [0.0] * size
        self._signs = [""] * size
        self._last, self._most = now, 2 * pause

    def observe(self, signs: Sequence[str], now: float) -> None:
        """Compare the signs of all processes with those of the last time."""
        passed, self._last = min(now - self._last, self._most), now
        for number, (before, sign) in enumerate(zip(self._signs, signs, strict=True)):
            alive = sign == LEFT or sign != before
            self.seconds[number] = 0.0 if alive else self.seconds[number] + passed
        self._signs = list(signs)

    def longer_than(self, timeout: float) -> list[int]:
        """Return the processes that have been silent for that many seconds."""
        return [number for number, seconds in enumerate(self.seconds) if seconds >= timeout]


class _Activity:
    """What this process is doing. There is one per process.

    Attributes:
        alone: Number of threads within `working_alone`.
        exchanging: Number of threads within `exchanging`.
    """

    def __init__(self) -> None:
        self.alone = self.exchanging = 0
        self._lock = threading.Lock()

    @contextmanager
    def mark(self, name: str) -> Iterator[None]:
        """Count a thread while the context lasts."""
        self._add(name, 1)
        try:
            yield
        finally:
            self._add(name, -1)

    def _add(self, name: str, amount: int) -> None:
        with self._lock:
            setattr(self, name, getattr(self, name) + amount)

    @property
    def must_work(self) -> bool:
        """Whether a process that uses no CPU time makes no progress."""
        return self.alone > 0 and self.exchanging == 0


_ACTIVITY = _Activity()


@contextmanager
def working_alone() -> Iterator[None]:
    """Mark work that needs no other process. A process that does not compute in it, but waits, counts as silent."""
    with _ACTIVITY.mark("alone"):
        yield


@contextmanager
def exchanging() -> Iterator[None]:
    """Mark an exchange with other processes, which may take as long as they need; also within `working_alone`."""
    with _ACTIVITY.mark("exchanging"):
        yield


class Heartbeat:
    """The signs of life of this process, and the observation of the others. See `heartbeat` for the arguments."""

    def __init__(
        self, store: SignStore, place: str, rank: int, size: int, timeout: float, end: Callable[[str, bool], None]
    ) -> None:
        self._store, self._place, self._rank, self._timeout, self._end = store, place, rank, timeout, end
        self.pause = min(LONGEST_PAUSE, timeout / SIGNS_PER_TIMEOUT)
        self._keys = [f"sign {other}" for other in range(size)]
        self._count, self._rounds = 0, 0
        self._own_seconds: dict[int, float] = {}
        self._worked = 0.0
        now = time.monotonic()
        self._others, self._answers = Silence(size, now, self.pause), Silence(1, now, self.pause)
        self._stopped, self._ending = threading.Event(), threading.Lock()
        self._threads = [
            threading.Thread(target=self._repeat, args=(step,), name=name, daemon=True)
            for name, step in (("signs", self.talk), ("watch", self.watch))
        ]

    def start(self) -> None:
        """Give the first sign and start the threads."""
        self._store.set(f"process {self._rank}", f"process {os.getpid()} on {platform.node()}")
        self.give_sign()
        for thread in self._threads:
            thread.start()

    def stop(self, finished: bool) -> None:
        """Stop the threads. Idempotent.

        Args:
            finished: The others do not need this process any more. After an error they do, and miss its signs.
        """
        self._stopped.set()
        if finished:
            # The process that keeps the store may have finished, too.
            _tried(lambda: self._store.set(self._keys[self._rank], LEFT))

    def give_sign(self) -> None:
        """Count, unless this process should be working and has not."""
        worked = time.process_time() - sum(self._own_seconds.values())
        if worked - self._worked >= LEAST_WORK or not _ACTIVITY.must_work:
            self._count += 1
        self._worked = worked
        self._store.set(self._keys[self._rank], str(self._count))

    def talk(self, now: float) -> None:
        """Give a sign, read those of all processes, and end this one if some have been silent for too long."""
        self.give_sign()
        self._others.observe(self._signs(), now)
        if silent := self._others.longer_than(self._timeout):
            names = " and ".join(map(self._name, silent))
            have = "has" if len(silent) == 1 else "have"
            # Only one process prints.
            self._finish(f"{names} {have} given no sign of life", self._store.add("named", 1) == 1)
        self._rounds += 1

    def watch(self, now: float) -> None:
        """End this process if the store has not answered for too long."""
        self._answers.observe([str(self._rounds)], now)
        if self._answers.longer_than(self._timeout):
            self._finish(f"{self._place} has given no sign of life", True)

    def _repeat(self, step: Callable[[float], None]) -> None:
        while not self._stopped.wait(self.pause):
            _tried(lambda: step(time.monotonic()))
            self._own_seconds[threading.get_ident()] = time.thread_time()

    def _signs(self) -> list[str]:
        if self._store.check(self._keys):
            return [sign.decode() for sign in self._store.multi_get(self._keys)]
        return [self._store.get(key).decode() if self._store.check([key]) else "" for key in self._keys]

    def _name(self, rank: int) -> str:
        key = f"process {rank}"
        return f"rank {rank} ({self._store.get(key).decode()})" if self._store.check([key]) else f"rank {rank}"

    def _finish(self, reason: str, speaks: bool) -> None:
        with self._ending:
            if not self._stopped.is_set():
                self._stopped.set()
                self._end(
                    f"{reason} for {duration(self._timeout)} (--timeout); what is saved or finished is kept: look at "
                    "that machine, then start the job again (fit train with --auto-resume)",
                    speaks,
                )


@contextmanager
def heartbeat(
    store: SignStore,
    place: str,
    rank: int,
    size: int,
    timeout: float,
    end: Callable[[str, bool], None] | None = None,
) -> Iterator[None]:
    """Give signs of life while the context lasts, and end this process if another one gives none.

    Args:
        store: Connection to the key-value store of the job that nothing else uses: a call may wait for long.
        place: Place of the store, as text for messages.
        rank: Rank of this process.
        size: Number of processes.
        timeout: Seconds without a sign after which a process counts as lost.
        end: Ends the process; takes the message, and whether this process prints it. None for `end_process`.
    """
    signs = Heartbeat(store, place, rank, size, timeout, end_process if end is None else end)
    signs.start()
    try:
        yield
    except BaseException:
        signs.stop(finished=False)
        raise
    signs.stop(finished=True)


def end_process(message: str, speaks: bool) -> None:
    """End this process with exit code 1 from any thread: the main thread may wait for a lost process for ever."""
    if speaks:
        console.last_error(message)
    else:
        time.sleep(GRACE)
    sys.stderr.flush()
    os._exit(1)


def duration(seconds: float) -> str:
    """Return a duration in words."""
    number, unit = (seconds / 60, "minute") if seconds >= 60 else (seconds, "second")
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def _tried(act: Callable[[], None]) -> None:
    """Call a function; errors of the store are left to the thread that watches whether it answers."""
    try:
        act()
    except (OSError, RuntimeError):
        return
