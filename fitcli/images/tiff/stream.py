"""What tifffile parses the structure of a file from: bytes that have no path, and patience that ends.

tifffile opens files beside the one it is given (OME-XML, Micro-Manager and NDTiff name them), but only where it knows a
path; and it follows as many directories as a file has, each of which costs it a tenth of a millisecond.
"""

from __future__ import annotations

import io
import os

from fitcli.images.byte_source import SourceFile

MOST_READS, MOST_BYTES = 50_000, 24 << 20
"""What the structure of a file may take: slides need some hundred reads, one per page and tag, and 16 bytes per chunk.
Numbers take ten times their bytes once parsed."""


class OutOfPatience(BaseException):
    """A file has more structure than any image. No `Exception`, after which tifffile would go on."""


class StructureStream(io.RawIOBase):
    """A file as a stream for reading, without a name or a descriptor.

    Raises:
        OutOfPatience: Once more than `MOST_READS` reads or `MOST_BYTES` bytes have been asked for.
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
        if self._reads > MOST_READS or self._bytes > MOST_BYTES:
            raise OutOfPatience
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
            raise ValueError(f"a position of {start + offset} lies before the file")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
