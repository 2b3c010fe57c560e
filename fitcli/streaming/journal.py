"""Records a streamed pass in a folder, so that a killed job resumes where it was, with the same result to the bit.

STATE/job.json        the job (image, checkpoint, settings) and its plan, which must not change half way
STATE/position.pt     segment, number of finished groups, latents; replaced as a whole at intervals
STATE/even, odd       tokens at rest; the sweeps write to them in turn, so that no sweep overwrites its own input
STATE/reads           attention weights for the heat map
STATE/cells           classes of cells
STATE/lock            locked by the process that uses the folder
"""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from fitcli.errors import FitError
from fitcli.files.file_lock import FileLock, LockedError
from fitcli.files.leftovers import is_leftover, remove_leftovers
from fitcli.files.publish import publish_file, write_text
from fitcli.files.write_errors import reason_and_advice
from fitcli.streaming.sweeps import Position
from fitcli.streaming.token_store import DiskStore, TokenStore

SAVE_SECONDS = 30.0
"""Seconds after which the next handful ends with a save of the position. A kill can lose a little more than this."""

JOB, POSITION, LOCK = "job.json", "position.pt", "lock"

NEW_LATENTS = "fresh"
"""Name of `Position.new_latents` in the file of a position."""

WRITTEN = (POSITION, "even", "odd", "reads", "cells", "canvas-*", JOB)
"""Patterns of the names of everything that jobs write to the folder, in the order in which it is removed."""


class FolderJournal:
    """A `sweeps.Journal` in a folder. Only one process can use the folder at a time.

    Args:
        folder: The folder; created if it does not exist.
        job: Everything that the result depends on, as JSON data.

    Attributes:
        plan: The plan of the job, as JSON data; None until `save_plan`.
        sync_output: Called before a position is saved: waits until the output so far would survive a power cut.

    Raises:
        FitError: The folder holds another job or a link, is in use, or cannot be written.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder = folder
        self._job = json.loads(json.dumps(job))
        self.sync_output: Callable[[], None] = lambda: None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._check_names()
            self._lock = FileLock(folder / LOCK)
        except LockedError as error:
            raise FitError(f"--state {folder}: in use by {error.holder}; wait for it or give another folder") from None
        except OSError as error:
            raise FitError(f"--state {folder}: cannot be created ({error.strerror}); give another folder") from None
        try:
            self._lock.sign()
            remove_leftovers(folder)
            self.plan: dict[str, Any] | None = self._check()
        except BaseException:
            self.close()
            raise
        self._saved = time.monotonic()

    def save_plan(self, plan: dict[str, Any]) -> None:
        """Save the plan: a resumed pass with another handful could differ in the last bit."""
        self.plan = plan
        write_text(self.folder / JOB, json.dumps({"job": self._job, "plan": plan}, indent=2) + "\n")

    @property
    def has_position(self) -> bool:
        """Whether the folder holds a position to resume from."""
        return (self.folder / POSITION).is_file()

    def restart(self) -> None:
        """Remove the position, so that the pass starts at the beginning."""
        (self.folder / POSITION).unlink(missing_ok=True)

    def resume(self) -> Position | None:
        values = self.load()
        try:
            return None if values is None else Position(new_latents=values.pop(NEW_LATENTS), **values)
        except (KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def load(self) -> dict[str, Any] | None:
        """Return the numbers and tensors that `save` saved last, by name; None if there are none.

        Raises:
            FitError: The file is damaged.
        """
        path = self.folder / POSITION
        if not self.has_position:
            return None
        try:
            return dict(torch.load(path, weights_only=True))
        except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._damaged(error) from error

    def record(self, position: Position, stores: Sequence[TokenStore]) -> None:
        """Save a position, unless the last save is less than `SAVE_SECONDS` ago."""
        if time.monotonic() - self._saved < SAVE_SECONDS:
            return
        # Tokens first: a position on disk promises that its tokens are there.
        for store in stores:
            store.flush()
        self.sync_output()
        values = position._asdict()
        self.save({NEW_LATENTS: values.pop("new_latents"), **values})

    def save(self, values: dict[str, Any]) -> None:
        """Save numbers and tensors by name, in place of those saved before.

        Raises:
            FitError: The file cannot be written.
        """
        try:
            with publish_file(self.folder / POSITION) as new:
                torch.save(values, new)
        except (OSError, RuntimeError) as error:
            # PyTorch turns errors of the system into errors of its own, most often on a full disk.
            why = reason_and_advice(error) if isinstance(error, OSError) else (f"{error}", "free some space there")
            raise FitError(f"--state {self.folder}: cannot be written: {'; '.join(why)}") from error
        self._saved = time.monotonic()

    def open_store(
        self, name: str, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
    ) -> TokenStore:
        return DiskStore(shape, dtype, device, path=self.folder / name)

    def remove(self) -> None:
        """Remove what was written, after the job is done, and the folder, unless it holds something else by now."""
        with suppress(OSError):
            for pattern in (*WRITTEN, LOCK):
                for path in self.folder.glob(pattern):
                    path.unlink()
            self.folder.rmdir()
        self.close()

    def close(self) -> None:
        """Release the folder for other processes. Idempotent."""
        self._lock.close()

    def _damaged(self, error: Exception) -> FitError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        path = self.folder / POSITION
        return FitError(f"{path}: damaged ({reason}); remove the folder {self.folder} to start again")

    def _check_names(self) -> None:
        """Check that nothing else can be written to than files of a job."""
        names = [path for path in self.folder.iterdir() if path.name != LOCK and not is_leftover(path)]
        if names and not (self.folder / JOB).is_file():
            raise FitError(f"--state {self.folder}: holds other files; give an empty folder")
        for path in names:
            if path.is_symlink() and any(map(path.match, WRITTEN)):
                raise FitError(f"--state {self.folder}: {path.name} is a link; remove the folder to start again")

    def _check(self) -> dict[str, Any] | None:
        path = self.folder / JOB
        if not path.is_file():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            saved, plan = dict(document["job"]), dict(document["plan"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FitError(f"{path}: damaged ({error}); remove the folder {self.folder} to start again") from None
        for name in sorted(self._job.keys() | saved.keys()):
            if saved.get(name) != self._job.get(name):
                raise FitError(
                    f"--state {self.folder}: was begun with {name} {saved.get(name)}, not {self._job.get(name)}; "
                    "finish that job with its own settings, or remove the folder to start again"
                )
        return plan
