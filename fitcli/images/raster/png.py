"""PNG files too large to be decoded at once, as chunks: strips of whole rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.images.chunks import ChunkGrid, ChunkKey
from fitcli.images.raster.png_header import PALETTE, SAMPLES, PngHeader
from fitcli.images.raster.png_rows import PngRows, Rows

STRIP_BYTES = 4 << 20
"""Of the pixels of a strip, at least one row."""

MOST_BYTES = 4 << 30
"""Of the pixels of a file that are read: those below have to wait for all that lies above them."""

LONGEST_ROW = 16 << 20
"""Bytes of a row that are believed."""


class PngGrid(ChunkGrid):
    """Strips of rows of a PNG that is not interlaced; decoded one after the other."""

    sequential = True

    def __init__(self, path: Path, header: PngHeader) -> None:
        self.height, self.width = header.height, header.width
        self.channels = self.plane_channels = channels_of(header)
        self.dtype = np.dtype("u2" if header.bits == 16 else "?" if (header.bits, header.kind) == (1, 0) else "u1")
        self._row_bytes = self.width * self.channels * self.dtype.itemsize
        self.chunk = min(max(STRIP_BYTES // self._row_bytes, 1), self.height), self.width
        self._header, self._rows = header, PngRows(path, header, self.chunk[0])

    @property
    def is_affordable(self) -> bool:
        """Whether it can be read in a time that anybody would wait."""
        return self._row_bytes <= LONGEST_ROW and self._row_bytes * self.height <= MOST_BYTES

    def decode(self, key: ChunkKey) -> Pixels:
        samples = _samples(self._header, self._rows.read(key[1]))
        if self._header.kind == PALETTE:
            return _colors(self._header)[samples[:, :, 0]]
        if self._header.bits < 8:
            # As bright as it is meant to be.
            samples = samples * np.uint8(255 // (2**self._header.bits - 1)) if self._header.bits > 1 else samples
        return samples.astype(self.dtype, copy=False)


def channels_of(header: PngHeader) -> int:
    """Of what is read: a palette becomes colours, with alpha where it has that."""
    if header.kind == PALETTE:
        return 3 if header.alpha is None else 4
    return SAMPLES[header.kind]


def _samples(header: PngHeader, rows: Rows) -> Pixels:
    """[rows, columns, samples], 8 or 16 bits each; of packed samples their numbers."""
    if header.bits == 16:
        return rows.view(">u2").reshape(len(rows), header.width, -1)
    if header.bits < 8:
        bits = np.unpackbits(rows, axis=1).reshape(len(rows), -1, header.bits)
        weights = 1 << np.arange(header.bits - 1, -1, -1, dtype=np.uint8)
        rows = (bits * weights).sum(axis=2, dtype=np.uint8)[:, : header.width]
    return rows.reshape(len(rows), header.width, -1)


def _colors(header: PngHeader) -> NDArray[np.uint8]:
    """[256 channels] of the palette; colours that it lacks are black."""
    colors = np.zeros((256, channels_of(header)), np.uint8)
    known = np.frombuffer(header.palette, np.uint8).reshape(-1, 3)
    colors[: len(known), :3] = known
    if header.alpha is not None:
        colors[:, 3] = 255
        colors[: len(header.alpha), 3] = np.frombuffer(header.alpha, np.uint8)
    return colors
