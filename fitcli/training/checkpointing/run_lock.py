"""Lets one process at a time train into a run folder, and refuses links that lead out of the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fitcli.errors import FitError
from fitcli.files.file_lock import FileLock, LockedError

LOCK = "training/lock"
"""File that names the process that holds, or held, the run."""

FOLDERS = ("training", "training/states", "last", "tensorboard")
"""Folders of a run that training writes to."""

APPENDED = ("metrics.jsonl",)
"""Files of a run that training appends to. It replaces all others, links included."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from training into a run folder while the context lasts. The folder is made if need be.

    On a file system without locks, nobody is kept out.

    Raises:
        FitError: Another process trains there, or the run folder has a link where training would write.
    """
    check_links(run)
    path = run / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path)
    except LockedError as error:
        raise FitError(f"{run}: {error.holder} is training there; wait for it, or choose another --out") from None
    with closing(lock):
        lock.sign()
        yield


def check_links(run: Path) -> None:
    """Check that training writes nothing outside of a run folder. The folder itself may be a link.

    Raises:
        FitError: There is a link where training would write.
    """
    states = run / "training/states"
    inside = [path for path in states.iterdir() if path.name.isdigit()] if states.is_dir() else []
    for path in (*(run / name for name in (*FOLDERS, *APPENDED, LOCK)), *inside):
        if path.is_symlink():
            raise FitError(f"{path}: is a link, and training writes nothing outside of {run}; replace it by a copy")
