"""Saves and loads the states of a run: the last few, each in a folder that is there whole or not at all.

    RUN/training/states/00000400/*.safetensors    model, optimizer and, if the run has one, ema: see `snapshot.State`
    RUN/training/states/00000400/state.json       `snapshot.Progress`, and the checksums of those files and of itself

A state is used only after all of it was compared with its checksums.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fitcli import __version__
from fitcli.errors import CheckpointError, OutOfMemory, is_out_of_memory
from fitcli.files.publish import publish_folder, remove_folder, write_text
from fitcli.runs.weights import read_tensors, write_tensors
from fitcli.training.checkpointing.snapshot import EMA, MODEL, OPTIMIZER, Progress, State

STATES, MANIFEST = "training/states", "state.json"

FILES = (MANIFEST, f"{MODEL}.safetensors", f"{OPTIMIZER}.safetensors", f"{EMA}.safetensors")
"""Names of the files of a state."""

FORMAT = 1
"""Version of the format of a state; raised when older versions of fit could not read it."""

LONGEST_REASON = 300
"""Largest number of characters: torch names every tensor that does not fit."""

PROGRESS_FIELDS = {"said": "headline"}
"""Fields of the progress by their keys in a manifest, where the two differ: earlier versions wrote these keys."""


def save_state(run: Path, state: State, progress: Progress) -> None:
    """Save a state beside those that were saved before.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    (run / STATES).mkdir(parents=True, exist_ok=True)
    with publish_folder(_folder(run, progress.step)) as folder:
        for part, tensors in state.items():
            write_tensors(folder / _file(part), tensors)
        sums = {file.name: _checksum(file) for file in folder.iterdir()}
        (folder / MANIFEST).write_text(_manifest(progress, sums), encoding="ascii")


def save_progress(run: Path, progress: Progress) -> None:
    """Replace the progress in a saved state, if there was a validation since, but no step.

    Raises:
        OSError, ValueError, KeyError: The progress cannot be written, or the state is missing; nothing has changed.
    """
    path = _folder(run, progress.step) / MANIFEST
    write_text(path, _manifest(progress, _parsed(path)["sha256"]))


def checksums(run: Path, step: int) -> dict[str, str]:
    """Return the checksums of the files of a state, by name.

    Raises:
        OSError, ValueError, KeyError: The state is missing or damaged.
    """
    return dict(_parsed(_folder(run, step) / MANIFEST)["sha256"])


def forget_states(run: Path, keep: int, newest: int) -> None:
    """Remove all states except the last `keep` up to step `newest`. The steps of later states are done again."""
    steps = saved_steps(run)
    kept = [step for step in steps if step <= newest][:keep]
    for step in set(steps) - set(kept):
        remove_folder(_folder(run, step))


def saved_steps(run: Path) -> list[int]:
    """Return the steps after which states were saved, the last one first."""
    folder = run / STATES
    paths = [path for path in folder.iterdir() if _is_state(path)] if folder.is_dir() else []
    return sorted((int(path.name) for path in paths), reverse=True)


def load_state(run: Path, use: Callable[[State], None], damaged: Callable[[str, int], None]) -> Progress:
    """Load the last state of a run; if it is damaged, the one before it.

    Args:
        run: The run folder.
        use: Takes the tensors; raises ValueError, RuntimeError, KeyError or TypeError if they belong to something else.
        damaged: Called with a message that names the damaged states, and the step of the state that is used instead.

    Returns:
        The progress in the state.

    Raises:
        CheckpointError: There is no state, all are damaged, or a newer fit wrote it.
        OutOfMemory: There is not enough memory.
    """
    steps, reasons = saved_steps(run), []
    for step in steps:
        folder = _folder(run, step)
        try:
            progress, state = _read(folder)
            use(state)
        except CheckpointError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, MemoryError) as error:
            if is_out_of_memory(error):
                text = f"{folder}: does not fit into memory ({_reason(error)}); free some, then try again"
                raise OutOfMemory(text) from None
            reasons.append(f"{folder}: damaged ({_reason(error)})")
            continue
        if reasons:
            damaged(f"{'; '.join(reasons)}; continuing from step {step}, which was saved before", step)
        return progress
    if reasons:
        raise CheckpointError(f"{reasons[0]}, and no state before it is whole; start a new run")
    raise CheckpointError(f"{run}: no saved state is left in {STATES}; remove the folder and start again")


def saved_step(run: Path) -> int:
    """Return the step of the last state of a run; 0 if there is none."""
    return next(iter(saved_steps(run)), 0)


def _folder(run: Path, step: int) -> Path:
    return run / STATES / f"{step:08}"


def _is_state(path: Path) -> bool:
    """Return whether a folder is a state. Links, and folders that a user put there, are not."""
    name = path.name
    if not (name.isascii() and name.isdigit() and name == f"{int(name):08}") or path.is_symlink() or not path.is_dir():
        return False
    names = [file.name for file in path.iterdir()]
    return not names or any(name in FILES for name in names)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path) -> tuple[Progress, State]:
    """Read a state and compare it with its checksums.

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
    """Rebuild the progress from JSON data, in which tuples are lists."""
    named = {PROGRESS_FIELDS.get(key, key): value for key, value in values.items()}
    tuples: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in named.items()}
    return Progress(**tuples)


def _file(part: str) -> str:
    return f"{part}.safetensors"


def _manifest(progress: Progress, sums: dict[str, str]) -> str:
    """Return the manifest as JSON, with a checksum of all its entries."""
    keys = {name: key for key, name in PROGRESS_FIELDS.items()}
    values = {keys.get(name, name): value for name, value in dataclasses.asdict(progress).items()}
    document = {"format": FORMAT, "fit": __version__, "progress": values, "sha256": sums}
    return json.dumps({**document, "checksum": _checksum_of(document)}, indent=2) + "\n"


def _parsed(path: Path) -> dict[str, Any]:
    """Read a manifest.

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
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())[:LONGEST_REASON] or type(error).__name__
