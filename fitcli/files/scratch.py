"""Files without a name beside an image being written, for bytes that have to wait.

They vanish with the process that made them, however it ends. Knows nothing of pixels.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_all(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """`os.pwrite` until everything is written.

    Raises:
        OSError: As `os.pwrite` (disk full, ...).
    """
    rest = memoryview(data).cast("B")
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written


class ScratchFile:
    """A file without a name that is written and read at offsets. Needs no lock.

    Args:
        folder: Where its bytes take up space.

    Raises:
        OSError: The folder is not there or not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def write(self, data: memoryview, offset: int) -> None:
        """Put bytes at an offset."""
        write_all(self._file.fileno(), data, offset)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with the bytes from an offset, at which so many must have been written."""
        rest = buffer.cast("B")
        while rest:
            count = os.preadv(self._file.fileno(), [rest], offset)
            if count == 0:
                raise OSError("a scratch file is shorter than what was written to it")
            rest, offset = rest[count:], offset + count

    def close(self) -> None:
        """Give the disk space back. Idempotent."""
        self._file.close()
