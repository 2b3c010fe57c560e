"""What resuming needs, in one file: weights, optimizer, step. Read with `weights_only`, so that it cannot run code."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fitcli.atomic import replacing, write_text
from fitcli.errors import CheckpointError, FitError
from fitcli.training.settings import TrainSettings

STATE, SETTINGS = "training/state.pt", "training/settings.json"

CHECKSUMS = "training/state.sha256"
"""SHA-256 of the state, one per line: while a state is replaced by the next, of both of them."""


@dataclass(slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: Optimizer steps done.
        validated: Steps that had been done at the last validation.
        best: Rank of the best validation so far, see `Validation.rank`; empty before the first.
        said: Of that validation: the name of the score that matters and its value.
    """

    step: int = 0
    validated: int = 0
    best: tuple[float, ...] = ()
    said: tuple[str, str] = ("", "")

    def summary(self, run: Path) -> str:
        """One line on the outcome."""
        if not self.best:
            return f"{run}: {self.step} steps"
        return f"{run}: {self.step} steps, best validation {self.said[0]} {self.said[1]}"


def save_settings(run: Path, settings: TrainSettings, fingerprint: str) -> None:
    """Remember what the run was asked to do, and the fingerprint of the data set to do it on."""
    (run / SETTINGS).parent.mkdir(exist_ok=True)
    document = {**dataclasses.asdict(settings), "dataset": fingerprint}
    write_text(run / SETTINGS, json.dumps(document, indent=2) + "\n")


def load_settings(run: Path) -> tuple[TrainSettings, str]:
    """What the run was asked to do, and the fingerprint of its data set.

    Raises:
        CheckpointError: That is not to be found out.
    """
    try:
        stored = dict(json.loads((run / SETTINGS).read_text(encoding="utf-8")))
        fingerprint = str(stored.pop("dataset"))
        return TrainSettings(**stored), fingerprint
    except (OSError, ValueError, TypeError, KeyError, FitError) as error:
        raise CheckpointError(f"{run / SETTINGS}: cannot be read ({error}); start a new run") from None


def save_state(
    run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, average: nn.Module | None = None
) -> None:
    """Write the state: the old file or the new one is there at any moment.

    Args:
        run: The folder.
        model, optimizer, progress: What to go on with.
        average: The moving average of the weights, where the run keeps one.
    """
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": dataclasses.asdict(progress),
        "ema": None if average is None else average.state_dict(),
    }
    with replacing(run / STATE) as temporary:
        torch.save(state, temporary)
        # First, so that whichever state is there after a crash has its checksum.
        _save_checksums(run, _checksum(temporary), *_checksums(run)[:1])


def _save_checksums(run: Path, *checksums: str) -> None:
    write_text(run / CHECKSUMS, "".join(f"{checksum}\n" for checksum in checksums))


def _checksums(run: Path) -> list[str]:
    """Newest first; none where there is no such file."""
    try:
        return (run / CHECKSUMS).read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def saved_step(run: Path) -> int:
    """Optimizer steps that a run has done and saved; 0 where its state cannot be read, which loading will explain."""
    try:
        state = torch.load(run / STATE, map_location="meta", weights_only=True)
        return int(state["progress"]["step"])
    except Exception:
        return 0


def load_state(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    average: nn.Module | None = None,
) -> Progress:
    """Continue where a run was saved: fills model and optimizer, and the average where the run keeps one.

    Raises:
        CheckpointError: There is no state, or it is damaged or of another model.
    """
    path = run / STATE
    if not path.is_file():
        raise CheckpointError(f"{run}: was stopped before its first save; remove the folder and start again")
    try:
        if _checksum(path) not in _checksums(run):
            raise ValueError("it is not the file that was saved: its checksum differs")
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["ema"])
        return Progress(**state["progress"])
    except (
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        pickle.UnpicklingError,
        OSError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: damaged ({reason}); start a new run") from error
