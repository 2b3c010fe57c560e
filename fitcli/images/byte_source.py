"""Bytes of a file by position, from any thread and any process.

Knows no formats.
"""

from __future__ import annotations

import os
from pathlib import Path

from fitcli.errors import ImageError


class SourceFile:
    """A file opened on first use and read with `pread`, which has no position that threads or forks could share.

    Attributes:
        path: The file.
        size: Its bytes when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._descriptor: _Descriptor | None = None
        self._closed = False

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset`.

        Raises:
            ImageError: The file ends before, cannot be read, or has been closed.
        """
        descriptor = self._open()  # this reference keeps it open should another thread close the file now
        try:
            data = os.pread(descriptor.number, count, offset)
            if len(data) == count:
                return data
            # one call returns at most 2 GiB
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
        """Fill a buffer of bytes from `offset`. Raises `ImageError` as `read` does."""
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
        """Close the file once the reads under way have finished. Reading again raises `ImageError`."""
        self._closed = True
        self._descriptor = None

    def _open(self) -> _Descriptor:
        if self._closed:
            raise ImageError(self.path, "has been closed; open it again to read from it")
        descriptor = self._descriptor
        if descriptor is None:
            # two threads may both get here: one of the descriptors is dropped, and closed, after use
            try:
                descriptor = self._descriptor = _Descriptor(self.path)
            except OSError as error:
                raise ImageError(self.path, f"cannot be opened ({error.strerror})") from error
        return descriptor


class _Descriptor:
    """A file descriptor that is closed when nobody refers to it any more."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)
