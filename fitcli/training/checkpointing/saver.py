"""Saves a run in the background: a step waits for the copy to host memory, and a thread writes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
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
"""Folder with the last weights, a run folder within the run folder."""

SAVE_SECONDS = 600.0
"""Seconds after which the next step ends with a save. A kill can lose a little more than this."""


@contextmanager
def saving(run: Path) -> Iterator[None]:
    """Turn an OSError while a run folder is written into a FitError that says how to continue."""
    try:
        yield
    except OSError as error:
        before = "; what was saved before is still there" if is_run(run) else ""
        how = "continue with --resume" if is_run(run) else "start again"
        raise FitError(
            f"{run}: cannot be written to ({error.strerror or error}){before}; make room for it, then {how}"
        ) from error


class TakeSnapshot(Protocol):
    """Takes a snapshot of a run, see `snapshot.snapshot`."""

    def __call__(self, *, copy: bool) -> State:
        """Return the state between two steps, in host memory."""


class Saver:
    """Saves a run, one state at a time.

    A save first writes the state, then replaces the weights for inference, and last removes earlier states. So there is
    a whole state at any moment; if the process dies after the state is written, the resumed run writes the weights
    again.

    Args:
        run: The run.
        take_snapshot: Takes a snapshot; collective if the model is sharded.
        sync: Called before a state is written, to make the log up to this state survive a power cut.
        saved: Progress of the last state on the disk. States of later steps are removed.
        writes: Whether this process writes; otherwise it only takes part in snapshots.
        in_background: Called at each save; returns whether to copy the state and write it in a thread. Otherwise the
            steps wait, and nothing is copied.
    """

    def __init__(
        self,
        run: TrainingRun,
        take_snapshot: TakeSnapshot,
        sync: Callable[[], None],
        saved: Progress,
        *,
        writes: bool = True,
        in_background: Callable[[], bool] = lambda: True,
    ) -> None:
        self._run, self._take_snapshot, self._sync, self._saved = run, take_snapshot, sync, replace(saved)
        self._writes, self._in_background = writes, in_background
        self._thread: Thread | None = None
        self._error: BaseException | None = None
        self._last_save, self._is_due = time.monotonic(), False
        self._published: Progress | None = None

    @property
    def busy(self) -> bool:
        """Whether a state is being written."""
        return self._thread is not None and self._thread.is_alive()

    def due(self, step: int, ends_epoch: bool) -> bool:
        """Return whether to save now. A save that becomes due while a state is written is due afterwards.

        Args:
            step: Number of steps done.
            ends_epoch: Whether the last step ended an epoch.
        """
        every = self._run.settings.save_every
        regular = ends_epoch if every is None else step % every == 0
        self._is_due = self._is_due or regular or time.monotonic() - self._last_save > SAVE_SECONDS
        return self._is_due and not self.busy

    def save(self, progress: Progress) -> None:
        """Save the present state. Waits for the save before, if it is not finished.

        Raises:
            FitError: This state or the one before cannot be written.
        """
        self.wait()
        self._last_save, self._is_due = time.monotonic(), False
        if progress == self._published:
            return
        background = self._in_background()
        # On all processes, also those that do not write: a snapshot may be collective.
        state = self._take_snapshot(copy=background)
        self._published = replace(progress)
        if not self._writes:
            return
        if not background:
            self._write(state, self._published)
            self.check()
            return
        self._thread = Thread(target=self._write, args=(state, self._published), name="saver", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise FitError if a state could not be written."""
        error, self._error = self._error, None
        if error is not None:
            self._published = None
            with saving(self._run.folder):
                raise error

    def wait(self) -> None:
        """Wait until the state is written. Raise FitError if that fails."""
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
        except BaseException as error:  # raised again in the training thread, by `check`
            self._error = error

    def _publish(self, state: State, progress: Progress) -> None:
        """Write the last weights, also as the best if this step is the best so far or nothing was validated yet."""
        folder = self._run.folder
        (folder / LAST).mkdir(exist_ok=True)
        config = self._run.config
        if progress.scores:
            config = replace(config, details=config.details.validated(progress.scores))
        save_config(folder / LAST, config)
        _save_weights(folder / LAST, state)
        if config != self._run.config:
            save_config(folder, config)
        if progress.step == progress.best_step or not progress.validated:
            _save_weights(folder, state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the thread, unless the user asked twice to stop. Do not hide an earlier error by one of writing."""
        if error is None:
            self.wait()
        elif self._thread is not None and not isinstance(error, KeyboardInterrupt):
            self._thread.join()


def _save_weights(folder: Path, state: State) -> None:
    save_tensors(folder / WEIGHTS, state[MODEL])
    if EMA in state:
        save_tensors(folder / EMA_WEIGHTS, state[EMA])
