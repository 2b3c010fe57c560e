"""Saves a run while it goes on: a step waits for the copy to host memory, a thread writes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace as copied
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Protocol, Self

from fitcli.errors import FitError
from fitcli.runs.config import is_run, save_config
from fitcli.runs.weights import EMA_WEIGHTS, WEIGHTS, save_tensors
from fitcli.tasks.context import TrainingRun
from fitcli.training.checkpointing.saved_states import forget_states, save_progress, save_state
from fitcli.training.checkpointing.snapshot import EMA, MODEL, Progress, State

LAST = "last"
"""Run folder of the last weights, within that of the run."""

SAVE_SECONDS = 600.0
"""After which a run is saved wherever it is: what is lost at most when its process is killed."""


@contextmanager
def saving(run: Path) -> Iterator[None]:
    """While something is written to the folder of a run.

    Raises:
        FitError: That is not possible.
    """
    try:
        yield
    except OSError as error:
        before = "; what was saved before is still there" if is_run(run) else ""
        how = "continue with --resume" if is_run(run) else "start again"
        raise FitError(
            f"{run}: cannot be written to ({error.strerror or error}){before}; make room for it, then {how}"
        ) from error


class StateGatherer(Protocol):
    """Takes a snapshot, see `state.snapshot`."""

    def __call__(self, *, copy: bool) -> State:
        """The state between two steps, in host memory."""


class Saver:
    """Saves a run, one state at a time.

    A state is on the disk whole before the weights that are there to be used are replaced: those follow from it, and
    are written again when the run is resumed. The states before it go last. Whenever the process dies, one is there.

    Args:
        run: Which one.
        gather: Takes a snapshot.
        sync: Called before a state is written: waits until what was logged up to it would survive a power cut.
        saved: Of a state that is on the disk already; none is kept that is of later steps.
        writes: This process writes. Without, it takes part in gathering alone.
        in_background: Asked at each save whether to write in a thread, while steps go on. Where not, nothing is copied,
            and steps wait.
    """

    def __init__(
        self,
        run: TrainingRun,
        gather: StateGatherer,
        sync: Callable[[], None],
        saved: Progress,
        *,
        writes: bool = True,
        in_background: Callable[[], bool] = lambda: True,
    ) -> None:
        self._run, self._gather, self._sync, self._saved = run, gather, sync, copied(saved)
        self._writes, self._in_background = writes, in_background
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._began, self._wanted = time.monotonic(), False
        self._published: Progress | None = None

    @property
    def busy(self) -> bool:
        """Whether a state is being written."""
        return self._thread is not None and self._thread.is_alive()

    def due(self, step: int, ends_epoch: bool) -> bool:
        """Whether to save now, after a number of steps. What is due while a state is being written is due afterwards.

        Args:
            step: Steps done.
            ends_epoch: With the last of them an epoch is over.
        """
        every = self._run.settings.save_every
        regular = ends_epoch if every is None else step % every == 0
        self._wanted = self._wanted or regular or time.monotonic() - self._began > SAVE_SECONDS
        return self._wanted and not self.busy

    def save(self, progress: Progress) -> None:
        """Save the state of this moment. Waits for the one before, if that is still being written.

        Raises:
            FitError: This one or the one before cannot be written.
        """
        self.wait()
        self._began, self._wanted = time.monotonic(), False
        if progress == self._published:
            return
        background = self._in_background()
        # On all processes alike: gathering takes all of them.
        state, then = self._gather(copy=background), copied(progress)
        self._published = then
        if not self._writes:
            self._published = then
            return
        if not background:
            self._write(state, then)
            self.check()
            return
        self._thread = Thread(target=self._write, args=(state, then), name="saver", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """See whether writing has failed.

        Raises:
            FitError: It has.
        """
        error, self._error = self._error, None
        if error is not None:
            self._published = None
            with saving(self._run.folder):
                raise error

    def wait(self) -> None:
        """Wait until all is written.

        Raises:
            FitError: It cannot be.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def _write(self, state: State, progress: Progress) -> None:
        folder = self._run.folder
        try:
            self._sync()
            if progress.step != self._saved.step:
                save_state(folder, state, progress)
            elif progress != self._saved:
                save_progress(folder, progress)
            self._saved = progress
            self._publish(state, progress)
            forget_states(folder, self._run.settings.keep, progress.step)
        except BaseException as error:  # for the thread that trains
            self._error = error

    def _publish(self, state: State, progress: Progress) -> None:
        """Weights to be used: the last ones, and the best where these are the best; all are before a validation."""
        folder = self._run.folder
        (folder / LAST).mkdir(exist_ok=True)
        save_config(folder / LAST, self._run.config)
        _save_weights(folder / LAST, state)
        if progress.step == progress.best_step or not progress.validated:
            _save_weights(folder, state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait; an error that is under way counts more than one of writing. Who asks twice to stop does not wait."""
        if error is None:
            self.wait()
        elif self._thread is not None and not isinstance(error, KeyboardInterrupt):
            self._thread.join()


def _save_weights(folder: Path, state: State) -> None:
    save_tensors(folder / WEIGHTS, state[MODEL])
    if EMA in state:
        save_tensors(folder / EMA_WEIGHTS, state[EMA])
