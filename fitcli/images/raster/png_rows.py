"""Reads rows of a PNG file, strip by strip in order, in bounded memory. Waypoints allow it to go back."""

from __future__ import annotations

import os
import struct
import threading
import weakref
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from fitcli.images.byte_source import SourceFile
from fitcli.images.png_header import SIGNATURE, PngHeader, unpack, verify_checksum

Rows: TypeAlias = NDArray[np.uint8]
"""Array [rows, row_bytes] as stored, with the filters undone."""

PIECE_BYTES = 256 << 10
"""Compressed bytes per read."""

WAYPOINT_BYTES = 64 << 20
"""Bytes of rows between waypoints. A waypoint keeps the 32 KiB window of the decompressor, a piece, and a row."""

CARRIERS = {1: (8, 0), 2: (8, 4), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}
"""Bits and colour type of a PNG by bytes per pixel. Filters work on bytes, so any PNG of that size undoes them."""


@dataclass(slots=True)
class _Position:
    """The state of decompression in front of a strip.

    Attributes:
        inflater: Decompressor (`zlib.decompressobj`).
        pending: Compressed bytes that the decompressor has not consumed yet.
        part: Position in the file of the current or next part, in bytes.
        done: Bytes of this part that have been read.
        checksum: CRC of these bytes and the name of the part.
        strip: Index of the next strip.
        above: The row above that strip.
    """

    inflater: Any
    pending: bytes
    part: int
    done: int
    checksum: int
    strip: int
    above: bytes

    def copy(self) -> _Position:
        return replace(self, inflater=self.inflater.copy())


class PngRows:
    """Reads strips of rows of a PNG file that is not interlaced.

    The rows are one compressed stream, and each is predicted from the row above, so they can only be read in order. An
    earlier strip is read from the nearest waypoint on. Thread-safe; survives a fork.

    Args:
        path: Path of the file.
        header: Its header.
        strip: Rows per strip; the last strip may have fewer.
    """

    def __init__(self, path: Path, header: PngHeader, strip: int) -> None:
        self._header, self._strip = header, strip
        self._source = SourceFile(path)
        first = _Position(zlib.decompressobj(), b"", header.start, 0, 0, 0, bytes(header.row_bytes))
        self._waypoints = [first]
        self._at: _Position | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def read(self, number: int) -> Rows:
        """Return a strip, given its index.

        Raises:
            ValueError: The file is damaged in this strip or above it.
            ImageError: The file cannot be read.
        """
        with self._lock:
            # An error leaves the position invalid, so it is kept only after success.
            at, self._at = self._at, None
            if at is None or at.strip > number:
                at = next(place for place in reversed(self._waypoints) if place.strip <= number).copy()
            while at.strip <= number:
                rows = self._next(at)
            self._at = at
        return rows

    def _next(self, at: _Position) -> Rows:
        """Return the strip at a position, and advance the position."""
        header = self._header
        count = min(self._strip, header.height - at.strip * self._strip)
        try:
            filtered = self._inflate(at, count * (header.row_bytes + 1))
            if (at.strip + 1) * self._strip >= header.height:
                self._finish(at)
        except zlib.error as error:
            raise ValueError(str(error)) from None
        rows = _without_filters(header, at.above, filtered)
        at.strip, at.above = at.strip + 1, rows[-1].tobytes()
        if (at.strip - self._waypoints[-1].strip) * rows.nbytes >= WAYPOINT_BYTES:
            self._waypoints.append(at.copy())
        return rows

    def _inflate(self, at: _Position, count: int) -> bytes:
        """Decompress the next `count` bytes of the stream."""
        parts = []
        while count:
            part = self._inflate_some(at, count)
            if not part:
                raise ValueError("it ends early")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _inflate_some(self, at: _Position, limit: int) -> bytes:
        """Decompress between 1 and `limit` bytes; return none at the end of the stream."""
        while not at.inflater.eof:
            data = at.pending or self._next_piece(at)
            inflated: bytes = at.inflater.decompress(data, limit)
            at.pending = at.inflater.unconsumed_tail
            if inflated or not data:
                return inflated
        return b""

    def _finish(self, at: _Position) -> None:
        """Read to the end of the stream, which verifies its checksum and those of the remaining parts."""
        self._inflate_some(at, 1)
        while self._next_piece(at):
            pass

    def _next_piece(self, at: _Position) -> bytes:
        """Read the next compressed bytes; return none at the end."""
        while True:
            length, name = unpack(">I4s", self._source.read(at.part, 8))
            if name != b"IDAT":
                return b""
            if at.done == 0:
                at.checksum = zlib.crc32(name)
            piece = self._source.read(at.part + 8 + at.done, min(PIECE_BYTES, length - at.done))
            at.checksum = zlib.crc32(piece, at.checksum)
            at.done += len(piece)
            if at.done == length:
                verify_checksum(name, at.checksum, self._source.read(at.part + 8 + length, 4))
                at.part, at.done = at.part + 12 + length, 0
            if piece:
                return piece

    def _start_over(self) -> None:
        """Reset the lock and the position, which another thread may have left in the middle of a change."""
        self._lock = threading.Lock()
        self._at = None


def _without_filters(header: PngHeader, above: bytes, filtered: bytes) -> Rows:
    """Undo the filters of rows (W3C PNG, third edition, section 9), given the row above them.

    The rows are decoded as a PNG of their own, whose first row is the row above, without a filter.
    """
    size = header.row_bytes // header.pixel_bytes, len(filtered) // (header.row_bytes + 1) + 1
    head = struct.pack(">IIBBBBB", *size, *CARRIERS[header.pixel_bytes], 0, 0, 0)
    body = zlib.compress(b"".join((b"\0", above, filtered)), 0)
    pixels = imagecodecs.png_decode(SIGNATURE + _part(b"IHDR", head) + _part(b"IDAT", body) + _part(b"IEND", b""))
    if pixels.itemsize == 2:
        pixels = pixels.astype(">u2")
    return pixels.reshape(size[1], -1).view(np.uint8)[1:]


def _part(name: bytes, content: bytes) -> bytes:
    """Encode a part of a PNG."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(content)), name, content, struct.pack(">I", checksum)))


_all: weakref.WeakSet[PngRows] = weakref.WeakSet()


def _start_all_over() -> None:
    """Reset all readers in a forked child, where the threads that held locks do not exist."""
    for rows in list(_all):
        rows._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_over)
