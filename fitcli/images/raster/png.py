"""Presents PNG files that are too large to decode whole as chunks: strips of whole rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.images.chunks import ChunkGrid, ChunkKey
from fitcli.images.png_header import PALETTE, SAMPLES, PngHeader
from fitcli.images.raster.png_rows import PngRows, Rows

STRIP_BYTES = 4 << 20
"""Bytes of the pixels of a strip, which holds at least one row."""

MAX_BYTES = 4 << 30
"""Largest number of bytes of pixels of a file: to read the last row, all rows above it are decoded."""

MAX_ROW_BYTES = 16 << 20
"""Largest plausible row in bytes."""


class PngGrid(ChunkGrid):
    """Strips of rows of a PNG that is not interlaced. They are decoded one after the other.

    Args:
        path: Path of the file.
        header: Its header.
        indices: Whether samples are returned as stored: indices of the palette, and grey without scaling.
    """

    sequential = True

    def __init__(self, path: Path, header: PngHeader, indices: bool = False) -> None:
        self.height, self.width = header.height, header.width
        self.channels = self.plane_channels = channels_of(header, indices)
        self._indices = indices
        self.dtype = np.dtype("u2" if header.bits == 16 else "?" if (header.bits, header.kind) == (1, 0) else "u1")
        self._row_bytes = self.width * self.channels * self.dtype.itemsize
        self.chunk = min(max(STRIP_BYTES // self._row_bytes, 1), self.height), self.width
        self._header, self._rows = header, PngRows(path, header, self.chunk[0])

    @property
    def is_affordable(self) -> bool:
        """Whether the file can be read in a reasonable time."""
        return self._row_bytes <= MAX_ROW_BYTES and self._row_bytes * self.height <= MAX_BYTES

    def decode(self, key: ChunkKey) -> Pixels:
        samples = _samples(self._header, self._rows.read(key[1]))
        if self._indices:
            return samples.astype(self.dtype, copy=False)
        if self._header.kind == PALETTE:
            return _colors(self._header)[samples[:, :, 0]]
        if self._header.bits < 8:
            # Scale to the full range of 8 bits, as Pillow and browsers do.
            samples = samples * np.uint8(255 // (2**self._header.bits - 1)) if self._header.bits > 1 else samples
        return samples.astype(self.dtype, copy=False)


def channels_of(header: PngHeader, indices: bool = False) -> int:
    """Return the number of channels of the pixels: a palette becomes colours, with alpha if the file has it."""
    if header.kind == PALETTE and not indices:
        return 3 if header.alpha is None else 4
    return SAMPLES[header.kind]


def palette_of(header: PngHeader) -> tuple[tuple[int, int, int], ...]:
    """Return red, green and blue of each entry of the palette; () if the samples are no indices."""
    colors = header.palette if header.kind == PALETTE else b""
    return tuple((colors[at], colors[at + 1], colors[at + 2]) for at in range(0, len(colors), 3))


def _samples(header: PngHeader, rows: Rows) -> Pixels:
    """Unpack rows to [rows, columns, samples] of 8 or 16 bits. Samples of fewer bits are not scaled."""
    if header.bits == 16:
        return rows.view(">u2").reshape(len(rows), header.width, -1)
    if header.bits < 8:
        bits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, header.bits)
        weights = 1 << np.arange(header.bits - 1, -1, -1, dtype=np.uint8)
        rows = (bits * weights).sum(axis=2, dtype=np.uint8)[:, : header.width]
    return rows.reshape(len(rows), header.width, -1)


def _colors(header: PngHeader) -> NDArray[np.uint8]:
    """Return the palette [256, channels]. Missing entries are black."""
    colors = np.zeros((256, channels_of(header)), np.uint8)
    stored = np.frombuffer(header.palette, np.uint8).reshape(-1, 3)
    colors[: len(stored), :3] = stored
    if header.alpha is not None:
        colors[:, 3] = 255
        colors[: len(header.alpha), 3] = np.frombuffer(header.alpha, np.uint8)
    return colors
