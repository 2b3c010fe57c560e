"""Gives tifffile the structure of a file as a stream without a path and with a limit.

With a path, tifffile opens other files that OME-XML, Micro-Manager and NDTiff metadata name. It also parses any number
of directories, each of which costs it a tenth of a millisecond.
"""

from __future__ import annotations

import io
import os

from fitcli.images.byte_source import SourceFile

MAX_READS, MAX_BYTES = 50_000, 24 << 20
"""Largest number of reads, and of bytes read, for the structure of a file. Slides need some hundred reads, one per page
and tag, and 16 bytes per chunk. Parsed numbers take ten times their bytes in memory."""


class TooMuchStructure(BaseException):
    """The structure of a file exceeds the limits. Not an `Exception`: tifffile would catch that and go on."""


class StructureStream(io.RawIOBase):
    """A readable stream of a file, without a name or a descriptor.

    Raises:
        TooMuchStructure: A read exceeds `MAX_READS` reads or `MAX_BYTES` bytes in all.
    """

    def __init__(self, source: SourceFile) -> None:
        super().__init__()
        self._source = source
        self._at = 0
        self._reads = self._bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._source.size - self._at, 0)
        count = left if size is None or size < 0 else min(size, left)
        self._reads += 1
        self._bytes += count
        if self._reads > MAX_READS or self._bytes > MAX_BYTES:
            raise TooMuchStructure
        data = self._source.read(self._at, count) if count else b""
        self._at += count
        return data

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # narrower than any buffer
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        if start + offset < 0:
            raise ValueError(f"position {start + offset} lies before the start of the file")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
