"""The states that a run was saved in: the last few, each in a folder that is there whole or not at all.

    RUN/training/states/00000400/*.safetensors    model, optimizer and, where the run keeps one, ema: see `state.State`
    RUN/training/states/00000400/state.json       `state.Progress`, and the checksums of those files and of itself

Nothing of a state is used before all of it has been compared with its checksums.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fitcli import __version__
from fitcli.errors import CheckpointError, FitError
from fitcli.files.atomic import remove_folder, replacing_folder, write_text
from fitcli.runs.weights import read_tensors, write_tensors
from fitcli.training.checkpointing.snapshot import EMA, MODEL, OPTIMIZER, Progress, State

STATES, MANIFEST = "training/states", "state.json"

FORMAT = 1
"""Of a state; raised when old readers could not understand it."""

LONGEST_REASON = 300
"""Letters: torch names every tensor that does not fit."""


def save_state(run: Path, state: State, progress: Progress) -> None:
    """Write a state beside those that are there already.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    (run / STATES).mkdir(parents=True, exist_ok=True)
    with replacing_folder(_folder(run, progress.step)) as folder:
        for part, tensors in state.items():
            write_tensors(folder / _file(part), tensors)
        sums = {file.name: _checksum(file) for file in folder.iterdir()}
        (folder / MANIFEST).write_text(_manifest(progress, sums), encoding="ascii")


def save_progress(run: Path, progress: Progress) -> None:
    """Write what is new in a state that was saved already: no step was done since, but perhaps a validation.

    Raises:
        OSError, ValueError, KeyError: It cannot be written, or is not there; nothing has changed.
    """
    path = _folder(run, progress.step) / MANIFEST
    write_text(path, _manifest(progress, _parsed(path)["sha256"]))


def forget_states(run: Path, keep: int, newest: int) -> None:
    """Remove all states but the last `keep` of those of step `newest` or before.

    What lies beyond it is of steps that are done again.
    """
    steps = saved_steps(run)
    kept = [step for step in steps if step <= newest][:keep]
    for step in set(steps) - set(kept):
        remove_folder(_folder(run, step))


def saved_steps(run: Path) -> list[int]:
    """Steps after which states were saved, the last one first."""
    folder = run / STATES
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(name) for name in names if name.isascii() and name.isdigit()), reverse=True)


def load_state(run: Path, use: Callable[[State], None], damaged: Callable[[str, int], None]) -> Progress:
    """Continue where a run was saved last; where that state is damaged, one state earlier.

    Args:
        run: The folder.
        use: Takes the tensors in; raises ValueError, RuntimeError, KeyError or TypeError where they are of something
            else.
        damaged: Told in words which states cannot be used, and the step of the one that is used instead.

    Raises:
        CheckpointError: There is no state, or all are damaged, or a newer fit wrote it.
        FitError: There is not enough memory.
    """
    steps, reasons = saved_steps(run), []
    for step in steps:
        folder = _folder(run, step)
        try:
            progress, state = _read(folder)
            use(state)
        except CheckpointError:
            raise
        except torch.OutOfMemoryError as error:
            raise FitError(
                f"{folder}: does not fit into memory ({_reason(error)}); free some, then try again"
            ) from None
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            reasons.append(f"{folder}: damaged ({_reason(error)})")
            continue
        if reasons:
            damaged(f"{'; '.join(reasons)}; going on from step {step}, which was saved before", step)
        return progress
    if reasons:
        raise CheckpointError(f"{reasons[0]}, and no state before it is whole; start a new run")
    raise CheckpointError(f"{run}: no state of it is left in {STATES}; remove the folder and start again")


def saved_step(run: Path) -> int:
    """Optimizer steps that a run has done and saved, by the name of its last state; 0 where there is none."""
    return next(iter(saved_steps(run)), 0)


def _folder(run: Path, step: int) -> Path:
    return run / STATES / f"{step:08}"


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path) -> tuple[Progress, State]:
    """What was saved, if it still is.

    Raises:
        CheckpointError: A newer fit wrote it.
        OSError, ValueError, KeyError, TypeError: It is damaged.
    """
    document = _parsed(folder / MANIFEST)
    for name, expected in document["sha256"].items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if _checksum(folder / name) != expected:
            raise ValueError(f"{name} is not the file that was saved: its checksum differs")
    parts = [part for part in (MODEL, OPTIMIZER, EMA) if _file(part) in document["sha256"]]
    progress = _progress(document["progress"])
    if progress.step != int(folder.name):
        raise ValueError(f"it is of step {progress.step}")
    return progress, {part: read_tensors(folder / _file(part)) for part in parts}


def _progress(values: dict[str, Any]) -> Progress:
    """JSON knows lists alone."""
    tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return Progress(**tuples)


def _file(part: str) -> str:
    return f"{part}.safetensors"


def _manifest(progress: Progress, sums: dict[str, str]) -> str:
    """As JSON, with a checksum of all that it says."""
    document = {"format": FORMAT, "fit": __version__, "progress": dataclasses.asdict(progress), "sha256": sums}
    return json.dumps({**document, "checksum": _checksum_of(document)}, indent=2) + "\n"


def _parsed(path: Path) -> dict[str, Any]:
    """What a manifest says.

    Raises:
        CheckpointError: A newer fit wrote it.
        OSError, ValueError, KeyError: It is damaged.
    """
    document: dict[str, Any] = dict(json.loads(path.read_text(encoding="ascii")))
    if document.pop("checksum") != _checksum_of(document):
        raise ValueError(f"{path.name} is not the file that was saved: its checksum differs")
    if document["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: was saved by fit {document['fit']} (format {document['format']}), this is fit {__version__} "
            f"(format {FORMAT}); install fit {document['fit']}, or a newer one"
        )
    return document


def _checksum_of(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode("ascii")).hexdigest()


def _reason(error: Exception) -> str:
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(said).split())[:LONGEST_REASON] or type(error).__name__
