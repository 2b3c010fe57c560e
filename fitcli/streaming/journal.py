"""The state of a streamed pass in a folder, so that a killed job goes on where it was, with the same result to the bit.

STATE/job.json        what is computed: image, checkpoint, settings, and the plan that must not change half way
STATE/position.pt     segment, groups done, latents; replaced whole at intervals
STATE/even, odd       tokens at rest. Sweeps write to them in turn, so that what a sweep reads is never overwritten
STATE/reads           what is kept for the heat map
"""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fitcli.errors import FitError
from fitcli.files.atomic import replacing, write_text
from fitcli.streaming.sweeps import Position
from fitcli.streaming.token_store import DiskStore, TokenStore

SAVE_SECONDS = 30.0
"""Between two saves of the position: what is lost at most when the process is killed."""

JOB, POSITION = "job.json", "position.pt"


class SweepState:
    """A `sweeps.Journal` in a folder. Used by one process at a time.

    Args:
        folder: Made if need be.
        job: Everything that the result depends on; JSON.

    Attributes:
        plan: Kept with the job by `keep_plan`; None until then.

    Raises:
        FitError: The folder holds the state of another job, is in use, or cannot be written.
    """

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        self.folder = folder
        self._job = json.loads(json.dumps(job))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder, os.O_RDONLY)
        except OSError as error:
            raise FitError(f"--state {folder}: cannot be made ({error.strerror}); give another folder") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise FitError(f"--state {folder}: in use by another process; wait for it or give another folder") from None
        try:
            self.plan: dict[str, Any] | None = self._check()
        except BaseException:
            self.close()
            raise
        self._saved = time.monotonic()

    def keep_plan(self, plan: dict[str, Any]) -> None:
        """Remember how the pass is run: another number of groups at a time could change the last bit."""
        self.plan = plan
        write_text(self.folder / JOB, json.dumps({"job": self._job, "plan": plan}, indent=2) + "\n")

    @property
    def begun(self) -> bool:
        """Whether there is a position to go on from."""
        return (self.folder / POSITION).is_file()

    def forget(self) -> None:
        """Begin again."""
        (self.folder / POSITION).unlink(missing_ok=True)

    def resume(self) -> Position | None:
        values = self.load()
        try:
            return None if values is None else Position(**values)
        except TypeError as error:
            raise self._damaged(error) from error

    def load(self) -> dict[str, Any] | None:
        """What was saved last: numbers and tensors by name; None at the beginning.

        Raises:
            FitError: It is damaged.
        """
        path = self.folder / POSITION
        if not self.begun:
            return None
        try:
            return dict(torch.load(path, weights_only=True))
        except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._damaged(error) from error

    def reached(self, position: Position, stores: Sequence[TokenStore]) -> None:
        """Save, if the last time is long enough ago."""
        if time.monotonic() - self._saved < SAVE_SECONDS:
            return
        # Tokens first: the position says that they are there.
        for store in stores:
            store.flush()
        self.save(position._asdict())

    def save(self, values: dict[str, Any]) -> None:
        """Keep numbers and tensors by name, in place of what was saved before.

        Raises:
            FitError: It cannot be written.
        """
        try:
            with replacing(self.folder / POSITION) as temporary:
                torch.save(values, temporary)
        except (OSError, RuntimeError) as error:
            raise FitError(f"--state {self.folder}: cannot be written ({error}); free some space there") from error
        self._saved = time.monotonic()

    def open_store(
        self, name: str, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
    ) -> TokenStore:
        return DiskStore(shape, dtype, device, path=self.folder / name)

    def remove(self) -> None:
        """The job is done: nothing is left to remember."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.close()

    def close(self) -> None:
        """Let others use the folder. Idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _damaged(self, error: Exception) -> FitError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        path = self.folder / POSITION
        return FitError(f"{path}: damaged ({reason}); remove the folder {self.folder} to start again")

    def _check(self) -> dict[str, Any] | None:
        path = self.folder / JOB
        if not path.is_file():
            if any(self.folder.iterdir()):
                raise FitError(f"--state {self.folder}: holds other files; give an empty folder")
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            found, plan = dict(document["job"]), dict(document["plan"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FitError(f"{path}: damaged ({error}); remove the folder {self.folder} to start again") from None
        for name in sorted(self._job.keys() | found.keys()):
            if found.get(name) != self._job.get(name):
                raise FitError(
                    f"--state {self.folder}: was begun with {name} {found.get(name)}, not {self._job.get(name)}; "
                    "finish that job with its own settings, or remove the folder to start again"
                )
        return plan
