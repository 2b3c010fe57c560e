"""The rows of a PNG file a strip at a time: inflated in order, with waypoints to go back to, in bounded memory."""

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
from fitcli.images.raster.png_header import SIGNATURE, PngHeader, check_sum, unpack

Rows: TypeAlias = NDArray[np.uint8]
"""[rows, row_bytes]: as they are stored, but not filtered any more."""

PIECE_BYTES = 256 << 10
"""Compressed data that is read at once."""

WAYPOINT_BYTES = 64 << 20
"""Of rows from one waypoint to the next. Each keeps the 32 KiB window of the decompressor, a piece, and a row."""

CARRIERS = {1: (8, 0), 2: (8, 4), 3: (8, 2), 4: (8, 6), 6: (16, 2), 8: (16, 6)}
"""Bytes per pixel -> (bits, colour type) of a PNG whose filters do the same to the bytes of a row."""


@dataclass(slots=True)
class _Place:
    """Where in the file, and in front of which row, a pass is.

    Attributes:
        inflater: A decompressor (`zlib.decompressobj`).
        pending: Compressed data that it has not taken yet.
        part: Position in the file of the part that is being read, or comes next.
        done: Bytes of it that have been read.
        checksum: Of what has been read of it.
        strip: The next one.
        above: The row before it.
    """

    inflater: Any
    pending: bytes
    part: int
    done: int
    checksum: int
    strip: int
    above: bytes

    def copy(self) -> _Place:
        return replace(self, inflater=self.inflater.copy())


class PngRows:
    """Strips of rows of a PNG file that is not interlaced.

    Its rows are one compressed stream, and each is predicted from the one above: they can only be had in order. Asked
    for an earlier strip, it goes on from the nearest waypoint. Thread-safe; survives a fork.

    Args:
        path: The file.
        header: What it says.
        strip: Rows of a strip; the last one may have fewer.
    """

    def __init__(self, path: Path, header: PngHeader, strip: int) -> None:
        self._header, self._strip = header, strip
        self._source = SourceFile(path)
        first = _Place(zlib.decompressobj(), b"", header.start, 0, 0, 0, bytes(header.row_bytes))
        self._waypoints = [first]
        self._at: _Place | None = None
        self._lock = threading.Lock()
        _all.add(self)

    def read(self, number: int) -> Rows:
        """A strip.

        Raises:
            ValueError: The file is damaged there, or before.
            ImageError: It cannot be read.
        """
        with self._lock:
            # Changed half way by an error, the place is none.
            at, self._at = self._at, None
            if at is None or at.strip > number:
                at = next(place for place in reversed(self._waypoints) if place.strip <= number).copy()
            while at.strip <= number:
                rows = self._next(at)
            self._at = at
        return rows

    def _next(self, at: _Place) -> Rows:
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

    def _inflate(self, at: _Place, count: int) -> bytes:
        """The next bytes of the stream."""
        found = []
        while count:
            some = self._some(at, count)
            if not some:
                raise ValueError("it ends early")
            found.append(some)
            count -= len(some)
        return b"".join(found)

    def _some(self, at: _Place, most: int) -> bytes:
        """Some of what comes next, at most so many bytes; none at the end."""
        while not at.inflater.eof:
            data = at.pending or self._piece(at)
            found: bytes = at.inflater.decompress(data, most)
            at.pending = at.inflater.unconsumed_tail
            if found or not data:
                return found
        return b""

    def _finish(self, at: _Place) -> None:
        """Compare the checksum of the rows, where the stream has one, and those of the parts that are left."""
        self._some(at, 1)
        while self._piece(at):
            pass

    def _piece(self, at: _Place) -> bytes:
        """The next compressed data; none at the end."""
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
                check_sum(name, at.checksum, self._source.read(at.part + 8 + length, 4))
                at.part, at.done = at.part + 12 + length, 0
            if piece:
                return piece

    def _start_over(self) -> None:
        """Keep the waypoints, but nothing that another thread may have held or changed half way."""
        self._lock = threading.Lock()
        self._at = None


def _without_filters(header: PngHeader, above: bytes, filtered: bytes) -> Rows:
    """Undo the filters of rows (W3C PNG, third edition, section 9), given the row above them.

    A PNG of their own is made of them, with the row above as a first one that is not filtered, and decoded.
    """
    size = header.row_bytes // header.pixel_bytes, len(filtered) // (header.row_bytes + 1) + 1
    head = struct.pack(">IIBBBBB", *size, *CARRIERS[header.pixel_bytes], 0, 0, 0)
    body = zlib.compress(b"".join((b"\0", above, filtered)), 0)
    pixels = imagecodecs.png_decode(SIGNATURE + _part(b"IHDR", head) + _part(b"IDAT", body) + _part(b"IEND", b""))
    if pixels.itemsize == 2:
        pixels = pixels.astype(">u2")
    return pixels.reshape(size[1], -1).view(np.uint8)[1:]


def _part(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(content)), name, content, struct.pack(">I", checksum)))


_all: weakref.WeakSet[PngRows] = weakref.WeakSet()


def _start_all_over() -> None:
    """In a forked child, where the threads that held locks do not exist."""
    for rows in list(_all):
        rows._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_over)
