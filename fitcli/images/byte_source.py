"""Reads bytes of a file by position, from any thread and any process."""

from __future__ import annotations

import os
from pathlib import Path

from fitcli.errors import ImageError


class SourceFile:
    """A file that is opened on first use. It is read with `pread`, so that threads and forks share no file position.

    Attributes:
        path: Path of the file.
        size: Size in bytes when this object was made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._descriptor: _Descriptor | None = None
        self._closed = False

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`.

        Raises:
            ImageError: The file ends early, cannot be read, or has been closed.
        """
        descriptor = self._open()  # this reference keeps it open if another thread calls `close` now
        try:
            data = os.pread(descriptor.number, count, offset)
            if len(data) == count:
                return data
            # One call of `pread` returns at most 2 GiB.
            parts = [data]
            while data and sum(map(len, parts)) < count:
                got = sum(map(len, parts))
                data = os.pread(descriptor.number, count - got, offset + got)
                parts.append(data)
        except OSError as error:
            raise ImageError(self.path, f"cannot be read ({error.strerror})") from error
        data = b"".join(parts)
        if len(data) < count:
            raise ImageError(self.path, f"ends {count - len(data)} bytes early; copy or export it again")
        return data

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with bytes from `offset`. Raises `ImageError` as `read` does."""
        descriptor = self._open()
        done = 0
        while done < len(buffer):
            try:
                got = os.preadv(descriptor.number, [buffer[done:]], offset + done)
            except OSError as error:
                raise ImageError(self.path, f"cannot be read ({error.strerror})") from error
            if not got:
                raise ImageError(self.path, f"ends {len(buffer) - done} bytes early; copy or export it again")
            done += got

    def close(self) -> None:
        """Close the file after the reads in progress. `read` then raises `ImageError`."""
        self._closed = True
        self._descriptor = None

    def _open(self) -> _Descriptor:
        if self._closed:
            raise ImageError(self.path, "has been closed; open it again to read from it")
        descriptor = self._descriptor
        if descriptor is None:
            # Two threads may both open the file: the descriptor that is not kept closes itself after use.
            try:
                descriptor = self._descriptor = _Descriptor(self.path)
            except OSError as error:
                raise ImageError(self.path, f"cannot be opened ({error.strerror})") from error
        return descriptor


class _Descriptor:
    """A file descriptor that closes itself when the last reference is gone."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
