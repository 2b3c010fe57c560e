"""Staging folders: where a file or folder is written, beside its destination, until it is complete.

    FOLDER/NAME                  the destination
    FOLDER/.fit-HASH-removed/    NAME, while it is removed
    FOLDER/.fit-HASH-SLOT/       its staging folder; HASH is of NAME, so these names are short however long NAME is
        lock                     locked while the process that writes lives
        new                      the file or folder being written
        old/NAME                 what stood at the destination, between the two renames of `publish.Publication`

A process that is killed leaves its staging folder, and the lock is free then. Whoever writes the same destination next
puts `old/NAME` back if nothing stands at the destination, and removes the rest.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from contextlib import suppress
from errno import EBUSY
from hashlib import sha256
from pathlib import Path

from fitcli.errors import FitError
from fitcli.files.disk import sync
from fitcli.files.file_lock import FileLock, LockedError

LOCK, NEW, OLD = "lock", "new", "old"

STAGING = re.compile(r"\.fit-[0-9a-f]{16}-(?:[0-9]{2}|[0-9a-f]{8})")
"""Names of staging folders."""

REMOVED = re.compile(r"\.fit-[0-9a-f]{16}-removed")
"""Names of folders that are being removed."""

CONTENTS = re.compile(r"lock|new|old|\.tmp[0-9A-Za-z]{6}")
"""Names in a staging folder. The safetensors library writes to `.tmp??????` and renames that."""

PAUSES = (0.01, 0.1)
"""Seconds between attempts to remove a folder: after an error, threads of the zarr library may still write to it."""

SLOTS = 16
"""Processes that can write one destination at the same time."""


class StagingFolder:
    """The staging folder of a destination, for this process.

    Args:
        destination: The file or folder to be written.
        token: Eight hexadecimal digits that name a folder which survives `close`, for a process that continues the
            work; None for one of the slots.

    Attributes:
        destination: As above.
        path: The staging folder.

    Raises:
        OSError: The folder cannot be made.
        FitError: Another process continues the work with this token.
    """

    _lock: FileLock | None

    def __init__(self, destination: Path, token: str | None = None) -> None:
        self.destination = destination
        if token is None:
            recover(destination)
            self.path, self._lock = _claim_slot(destination)
        else:
            self.path, self._lock = _claim(_place(destination, token), continues=True)

    @property
    def new(self) -> Path:
        """Where to write."""
        return self.path / NEW

    @property
    def old(self) -> Path:
        """Where to move what stands at the destination. Its folder has to be made."""
        return self.path / OLD / self.destination.name

    def clear(self) -> None:
        """Remove everything that was written so far."""
        _clear(self.path)

    def remove(self) -> None:
        """Put back what was moved away, if nothing stands at the destination; remove the folder. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            _end(self.path, lock, removes=True)

    def close(self) -> None:
        """Leave the folder to another process. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()


def token_path(destination: Path, token: str) -> Path:
    """Return where a staging folder with a token has what was written."""
    return _place(destination, token) / NEW


def removed_path(destination: Path) -> Path:
    """Return where a folder is while it is removed."""
    return _place(destination, "removed")


def recover(destination: Path) -> None:
    """Complete or undo what processes that died left of writing a destination, see above."""
    for slot in range(SLOTS):
        recover_folder(_place(destination, _slot(slot)))


def recover_folder(path: Path, alone: bool = False) -> None:
    """Complete or undo what a process that died left in a staging folder. Other folders are left as they are.

    Args:
        path: The staging folder, which need not exist.
        alone: No other process can be writing there: do it also on a file system without locks.
    """
    if not is_staging(path):
        return
    try:
        lock = FileLock(path / LOCK)
    except (LockedError, FitError):
        return
    except OSError:
        # Without a lock file nothing was written yet; on a full disk there can be none.
        with suppress(OSError):
            path.rmdir()
        return
    _end(path, lock, removes=lock.enforced or alone)


def is_staging(path: Path) -> bool:
    """Return whether a path is a staging folder, and not something else of such a name."""
    if STAGING.fullmatch(path.name) is None:
        return False
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode) and all(map(CONTENTS.fullmatch, os.listdir(path)))
    except OSError:
        return False


def put_back(staging: Path) -> None:
    """Move what stood at the destination of a staging folder back there, if nothing stands there now."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(staging / OLD):
            if not os.path.lexists(staging.parent / name):
                os.rename(staging / OLD / name, staging.parent / name)
                sync(staging.parent)


def _place(destination: Path, token: str) -> Path:
    return destination.parent / f".fit-{sha256(os.fsencode(destination.name)).hexdigest()[:16]}-{token}"


def _slot(number: int) -> str:
    return f"{number:02}"


def _claim_slot(destination: Path) -> tuple[Path, FileLock]:
    for number in range(SLOTS):
        with suppress(FileExistsError):
            return _claim(_place(destination, _slot(number)))
    first = _place(destination, _slot(0)).name
    raise OSError(
        EBUSY, f"{SLOTS} unfinished copies are beside it already, remove {first} and the like", str(destination)
    )


def _claim(path: Path, continues: bool = False) -> tuple[Path, FileLock]:
    """Make and lock a staging folder.

    Raises:
        FileExistsError: Another process has it.
        FitError: The same, with `continues`.
    """
    try:
        _make(path, continues)
        return path, FileLock(path / LOCK)
    except FileExistsError:
        raise
    except (LockedError, FileNotFoundError) as error:
        # A process that looks for leftovers may come in between.
        if not path.parent.is_dir():
            raise
        if continues:
            raise FitError(f"{path}: another process is writing there; wait for it") from error
        raise FileExistsError(str(path)) from None
    except BaseException:
        if not continues:
            recover_folder(path)
        raise


def _make(path: Path, continues: bool) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        if not (continues and is_staging(path)):
            raise


def _end(staging: Path, lock: FileLock, removes: bool) -> None:
    """Put back what was moved away, remove a staging folder if wanted, and release its lock."""
    try:
        put_back(staging)
        if removes:
            with suppress(OSError):
                _clear(staging)
                # The lock last: what is left after an interruption is still seen as a staging folder.
                os.unlink(staging / LOCK)
                os.rmdir(staging)
    finally:
        lock.close()
    if removes:
        # NFS keeps a file that was removed, under another name, until it is closed.
        with suppress(OSError):
            os.rmdir(staging)


def _clear(staging: Path) -> None:
    for name in os.listdir(staging):
        path = staging / name
        if name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            _remove_tree(path)
        else:
            os.unlink(path)


def _remove_tree(path: Path) -> None:
    for pause in PAUSES:
        try:
            shutil.rmtree(path)
            return
        except OSError:
            time.sleep(pause)
    shutil.rmtree(path)
