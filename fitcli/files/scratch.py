"""Scratch files without a name, for bytes that have to wait on the disk; and writing at offsets.

The system removes a scratch file when its process ends, however it ends.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all bytes at an offset, with as many calls of `os.pwrite` as that takes.

    Raises:
        OSError: The disk is full, or another error of `os.pwrite`.
    """
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


class ScratchFile:
    """A file without a name that is written and read at offsets, from several threads if you like.

    Args:
        folder: Folder on whose disk the bytes take up space.

    Raises:
        OSError: The folder does not exist or is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def write(self, data: memoryview, offset: int) -> None:
        """Write bytes at an offset."""
        write_all(self._file.fileno(), data, offset)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with the bytes at an offset. All of them must have been written before."""
        rest = buffer.cast("B")
        while rest:
            count = os.preadv(self._file.fileno(), [rest], offset)
            if count == 0:
                raise OSError("a scratch file is shorter than what was written to it")
            rest, offset = rest[count:], offset + count

    def close(self) -> None:
        """Release the disk space. Idempotent."""
        self._file.close()
