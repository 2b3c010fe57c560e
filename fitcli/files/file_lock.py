"""Locks on files, which the system releases when the process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import stat
from contextlib import suppress
from pathlib import Path

from fitcli.errors import FitError

FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Links are not followed, and a pipe of that name does not block."""

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of file systems that have no locks."""

ATTEMPTS = 10
"""How often to lock the file at a path, if other processes remove it again and again."""

HOLDER = "process "
"""How the text in a lock file begins."""


class LockedError(Exception):
    """Another process holds a lock.

    Attributes:
        holder: The other process, in words.
    """

    def __init__(self, holder: str) -> None:
        self.holder = holder
        super().__init__(holder)


class FileLock:
    """An exclusive lock on a file, which is created if need be.

    The file is not removed on release: otherwise two processes could lock two files of one name.

    Args:
        path: The lock file.

    Attributes:
        enforced: False on a file system without locks, where nobody is kept out.

    Raises:
        LockedError: Another process holds the lock.
        FitError: A link or something else than a file stands at `path`.
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._descriptor, self.enforced = path, -1, False
        # Some network file systems number one file differently each time: there the last attempt counts.
        for _ in range(ATTEMPTS - 1):
            if self._lock():
                return
            self.close()
        self._lock()

    def sign(self) -> None:
        """Write into the file which process holds the lock.

        Raises:
            FitError: The file holds something else than that.
        """
        text = self._text()
        if text and not text.startswith(HOLDER):
            raise FitError(f"{self._path}: is not a lock file of fit; move it away, then try again")
        # Only for people: a full disk does not matter here.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{HOLDER}{os.getpid()} on {platform.node()}\n".encode(), 0)

    def close(self) -> None:
        """Release the lock. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _lock(self) -> bool:
        """Lock the file at the path; return False if another one stands there by now."""
        try:
            self._descriptor = os.open(self._path, FLAGS, 0o666)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise self._no_file() from None
            raise
        try:
            opened = os.fstat(self._descriptor)
            if not stat.S_ISREG(opened.st_mode):
                raise self._no_file()
            self.enforced = self._flock()
            with suppress(FileNotFoundError):
                return os.path.samestat(opened, os.lstat(self._path))
            return False
        except BaseException:
            self.close()
            raise

    def _flock(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._text()
            raise LockedError(holder if holder.startswith(HOLDER) else "another process") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return False
        return True

    def _text(self) -> str:
        return " ".join(os.pread(self._descriptor, 200, 0).decode("utf-8", "replace").split())

    def _no_file(self) -> FitError:
        return FitError(f"{self._path}: is a link or a folder, not a lock file of fit; remove it, then try again")
