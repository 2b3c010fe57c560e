"""Files and folders under a temporary name beside their target, moved into place when they are finished.

Knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from fitcli.errors import ImageError


def cannot_write(path: Path, error: OSError, needed_bytes: int | None = None) -> ImageError:
    """What to tell the user about an `OSError` while writing to `path`."""
    if isinstance(error, ImageError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needed = "" if needed_bytes is None else f" (about {needed_bytes / 1e6:,.1f} MB more are needed there)"
        return ImageError(path, f"cannot be written: the disk is full{needed}; free some space or write elsewhere")
    return ImageError(path, f"cannot be written: {error.strerror or error}; check the folder and its permissions")


class Staged(ABC):
    """Something under a temporary name `.NAME.partial-...` beside its target. Links are followed to find the target.

    Attributes:
        target: Where it will be.
        path: Where it is.

    Raises:
        ImageError: The folder of the target is not there or not writable, or the target must not be replaced.
    """

    def __init__(self, target: Path) -> None:
        self._asked = target
        self.target = Path(os.path.realpath(target))
        self.path = self._beside("partial")
        parent = self.target.parent
        if not parent.is_dir():
            missing = "is not a folder" if parent.exists() else "does not exist; create it first"
            raise ImageError(target, f"cannot be written: the folder {parent} {missing}")
        self._check_target()
        try:
            self._create()
        except OSError as error:
            raise cannot_write(target, error) from error

    @abstractmethod
    def publish(self) -> None:
        """Make it durable and move it to its target, replacing what is there. Raises `OSError`."""

    @abstractmethod
    def discard(self) -> None:
        """Remove it. Idempotent, and harmless after `publish`."""

    @abstractmethod
    def _check_target(self) -> None: ...

    @abstractmethod
    def _create(self) -> None: ...

    def _beside(self, what: str) -> Path:
        return self.target.with_name(f".{self.target.name}.{what}-{secrets.token_hex(4)}")


class StagedFile(Staged):
    """A file under a temporary name."""

    def publish(self) -> None:
        _sync(self.path)
        os.replace(self.path, self.target)
        _sync(self.target.parent)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)

    def _check_target(self) -> None:
        if self.target.is_dir():
            raise ImageError(self._asked, "cannot be written: there is a folder of that name; choose another name")

    def _create(self) -> None:
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


class StagedFolder(Staged):
    """A folder under a temporary name. Replaces only a folder that contains one of `markers`."""

    def __init__(self, target: Path, markers: tuple[str, ...]) -> None:
        self._markers = markers
        super().__init__(target)

    def publish(self) -> None:
        for folder, _, names in os.walk(self.path):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        self._check_target()
        old = self._beside("replaced")
        replaces = self.target.exists()
        if replaces:
            os.rename(self.target, old)
        try:
            os.rename(self.path, self.target)
        except OSError:
            if replaces:
                os.rename(old, self.target)
            raise
        _sync(self.target.parent)
        if replaces:
            shutil.rmtree(old)

    def discard(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def _check_target(self) -> None:
        if self.target.exists() and not any((self.target / marker).is_file() for marker in self._markers):
            reason = "cannot be written: what is there is not a zarr folder, so it is not replaced; choose another name"
            raise ImageError(self._asked, reason)

    def _create(self) -> None:
        self.path.mkdir()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
