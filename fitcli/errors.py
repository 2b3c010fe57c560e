"""Errors that a user can cause and act on. Anything else that is raised is a bug of ours and keeps its traceback."""

from __future__ import annotations

from pathlib import Path

from fitcli.plain_text import plain


class FitError(Exception):
    """Base of all errors that are shown as one line: what is wrong, with which file, and what to do about it.

    Attributes:
        shared: Every process of the job raises it: the first one shows it.
    """

    shared = False


class ImageError(FitError, OSError):
    """An image cannot be opened, read or written.

    Attributes:
        path: The file or folder in question.
        reason: What is wrong with it, without the path.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(plain(f"{path}: {reason}"))

    def __reduce__(self) -> tuple[type[ImageError], tuple[Path, str]]:
        # OSError would rebuild it from the message alone, on the way between processes.
        return type(self), (self.path, self.reason)


class DataError(FitError, ValueError):
    """A data set cannot be used: empty, contradictory, or naming files that are not there."""


class CheckpointError(FitError, ValueError):
    """A run folder cannot be used: missing, damaged, or not matching what is asked of it."""


class DeviceError(FitError, RuntimeError):
    """The requested device or precision is not available on this machine."""
