"""Reads PBM, PGM and PPM (Netpbm), whose rows are stored as they are: only the needed ones are read.

Samples keep their values: those of a file with 12 bits reach from 0 to 4095. Pillow would stretch them, and would drop
the lower half of colours with 16 bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fitcli.images.base import Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import ChunkGrid, ChunkKey
from fitcli.images.window import Window

MASK, GREY, COLOR = b"P4", b"P5", b"P6"
"""First bytes of the binary forms. The forms P1 to P3 are texts."""

MAX_HEADER_BYTES = 1 << 16
"""Largest header in bytes, comments included."""

BAND_BYTES = 1 << 20
"""Rows are read this many bytes at a time: they stay in the cache of the processor until copied."""

NARROW = 4
"""Rows are read one by one if a window needs less than 1/4 of each."""

_GAP = rb"(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])"
_SIZE = re.compile(rb"P[456]" + _GAP + rb"+(\d{1,10})" + _GAP + rb"+(\d{1,10})")
_MOST = re.compile(_GAP + rb"+(\d{1,5})")


@dataclass(frozen=True, slots=True)
class PnmHeader:
    """The header of a file.

    Attributes:
        height, width: Size in pixels.
        channels: Samples per pixel.
        most: Largest value of a sample; 1 for masks.
        start: Position of the first pixel in bytes.
    """

    height: int
    width: int
    channels: int
    most: int
    start: int


def read_header(start: bytes) -> PnmHeader:
    """Parse a header, given the first `MAX_HEADER_BYTES` of the file.

    Raises:
        ValueError: The header is invalid.
    """
    size = _SIZE.match(start)
    most = None if size is None or start[:2] == MASK else _MOST.match(start, size.end())
    if size is None or (most is None and start[:2] != MASK):
        raise ValueError("its header is invalid")
    width, height = int(size[1]), int(size[2])
    end, value = (size.end(), 1) if most is None else (most.end(), int(most[1]))
    if not height or not width or not 0 < value < 1 << 16 or not start[end : end + 1].isspace():
        raise ValueError("its header is invalid")
    return PnmHeader(height, width, 3 if start[:2] == COLOR else 1, value, end + 1)


class PnmGrid(ChunkGrid):
    """All rows as one raw chunk.

    Raises:
        ValueError: The header is invalid, or the file ends early.
    """

    raw = True

    def __init__(self, path: Path) -> None:
        self._source = SourceFile(path)
        start = self._source.read(0, min(MAX_HEADER_BYTES, self._source.size))
        header = read_header(start)
        self.height, self.width = self.chunk = header.height, header.width
        self.channels = self.plane_channels = header.channels
        self._start, self._mask = header.start, start[:2] == MASK
        self._stored = np.dtype("u1" if header.most < 256 else ">u2")
        self.dtype = np.dtype("?") if self._mask else self._stored.newbyteorder("=")
        samples = self.width * self.channels
        self._row_bytes = -(-samples // 8) if self._mask else samples * self._stored.itemsize
        missing = self._start + self.height * self._row_bytes - self._source.size
        if missing > 0:
            raise ValueError(f"it ends {missing} bytes early")
        self.band = min(max(BAND_BYTES // self._row_bytes, 1), self.height), self.width

    def decode(self, key: ChunkKey) -> Pixels:
        pixels = np.empty((self.height, self.width, self.channels), self.dtype)
        self.copy_part(key, Window(0, 0, self.height, self.width), pixels)
        return pixels

    def copy_part(self, key: ChunkKey, part: Window, target: Pixels) -> None:
        narrow = part.width * NARROW < self.width
        first, last = self._columns(part) if narrow else (0, self._row_bytes)
        step = 1 if narrow else max(BAND_BYTES // self._row_bytes, 1)
        for row in range(0, part.height, step):
            count = min(step, part.height - row)
            at = self._start + (part.top + row) * self._row_bytes + first
            rows = np.frombuffer(self._source.read(at, count * (last - first)), np.uint8).reshape(count, -1)
            left = part.left - (first * 8 if self._mask else first // (self.channels * self._stored.itemsize))
            target[row : row + count] = self._samples(rows)[:, left : left + part.width]

    def _columns(self, part: Window) -> tuple[int, int]:
        """Return the first and the last byte of a row that a window needs."""
        if self._mask:
            return part.left // 8, -(-part.right // 8)
        pixel = self.channels * self._stored.itemsize
        return part.left * pixel, part.right * pixel

    def _samples(self, rows: Pixels) -> Pixels:
        if self._mask:  # 1 is black
            return np.logical_not(np.unpackbits(rows, axis=1)[:, :, None])
        return rows.view(self._stored).reshape(len(rows), -1, self.channels)
