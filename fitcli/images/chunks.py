"""Windows out of chunks: what all formats that store an image in pieces have in common.

A format describes each level as a `ChunkGrid`; `ChunkedReader` does the rest: which chunks a window needs, decoding
them in parallel, keeping those that the next window will need too. Knows no formats.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, ImageReader, Level, Pixels
from fitcli.images.chunk_cache import ChunkCache
from fitcli.images.decode_pool import MAX_WORKERS, run_all
from fitcli.images.window import Window

ChunkKey: TypeAlias = tuple[int, int, int]
"""(plane, row, column) of a chunk in its grid."""

MAX_CHUNK_BYTES = 256 << 20
"""Decoded size from which a chunk is refused: whatever a file claims, a window costs no more memory than this."""

AT_ONCE_BYTES = 64 << 20
"""Chunks that are decoded at the same time; with those that are kept this makes `MAX_CHUNK_BYTES` again."""

PARALLEL_BYTES, PARALLEL_RAW_BYTES = 1 << 20, 16 << 20
"""Pixels of a window, in bytes, from which waking other threads pays: where chunks are decoded, where only copied."""

MOST_CHANNELS = 1 << 16
"""A window of one pixel has as many values."""

SMALL_CHUNK, MOST_SMALL_CHUNKS = 256, 1 << 16
"""Pixels of a chunk that costs more to find than to read, and how many such a level may have: nobody stores a large
image so, but metadata can claim it for nothing."""

_owed: list[None] = []
"""A reference to None for each chunk that could not be decoded: `imagecodecs.png_decode` (2026.3.6) takes one that it
does not own when it fails, and Python 3.11 aborts when none are left."""


class ChunkGrid(ABC):
    """One level as it is stored: planes of `plane_channels` channels each, cut into chunks.

    Attributes:
        height, width, channels: Of the level, as stored (before any conversion of colours).
        dtype: Native byte order.
        chunk: (height, width) of a chunk; those at the bottom and right edge may be stored smaller.
        plane_channels: Channels that a chunk holds: all of them where they are interleaved.
        interleaved: The channels of a pixel lie side by side, in a chunk and in what is read.
        raw: Parts of a chunk can be read without decoding all of it, so that caching it has no use.
        sequential: Chunks are decoded one after the other, whoever asks.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    chunk: tuple[int, int]
    plane_channels: int
    interleaved: bool = True
    raw: bool = False
    sequential: bool = False

    @abstractmethod
    def decode(self, key: ChunkKey) -> Pixels:
        """A chunk as [rows, columns, plane_channels], at least as large as its part of the level. Not written to."""

    def decode_briefly(self, key: ChunkKey) -> Pixels:
        """As `decode`, but only good until this thread decodes the next chunk: memory that is used again stays in the
        processor's cache."""
        return self.decode(key)

    def copy_part(self, key: ChunkKey, part: Window, target: Pixels) -> None:
        """Copy a part of a chunk, in pixels of the chunk, into an array of its shape. Used where the grid is `raw`."""
        target[...] = self.decode(key)[part.slices()]

    @property
    def single_chunk(self) -> bool:
        """Whether the level is one chunk."""
        return self.height <= self.chunk[0] and self.width <= self.chunk[1]

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return self.chunk[0] * self.chunk[1] * self.plane_channels * self.dtype.itemsize


class ChunkedReader(ImageReader):
    """Reads windows of levels that are stored in chunks.

    `finish` turns stored channels into those of `info` (a palette into colours). Where the file stores one plane per
    channel, `read` returns a view whose memory is [channels, height, width] too.

    Raises:
        ImageError: A level claims more channels, or smaller chunks, than can be handled.
    """

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        grids: Sequence[ChunkGrid],
        finish: Callable[[Pixels], Pixels] | None = None,
    ) -> None:
        for grid in grids:
            _check_believable(path, grid)
        self.path = path
        self.info = info
        self._grids = tuple(grids)
        self._finish = finish
        self._cache = ChunkCache()
        self._closed = False

    def read(self, window: Window, level: int = 0) -> Pixels:
        if self._closed:
            raise ImageError(self.path, "has been closed; open it again to read from it")
        if not 0 <= level < len(self._grids):
            raise ImageError(self.path, f"has no level {level}; its levels are 0 to {len(self._grids) - 1}")
        pixels = self._read_stored(window, level)
        return pixels if self._finish is None else self._finish(pixels)

    def close(self) -> None:
        self._closed = True
        self._cache.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def _read_stored(self, window: Window, level: int) -> Pixels:
        grid = self._grids[level]
        window = window.clip(grid.height, grid.width)
        pixels = _empty(grid, window)
        planes = range(-(-grid.channels // grid.plane_channels))
        places = window.chunks(*grid.chunk)
        keys = [(plane, row, column) for plane in planes for row, column in places]
        if not grid.raw:
            partial = len(places) - _whole_chunks(grid, window)
            self._cache.reserve(partial * len(planes) * grid.chunk_bytes)

        def fill(key: ChunkKey) -> None:
            try:
                self._fill(pixels, window, level, key)
            except ImageError:
                raise
            except Exception as error:  # codecs raise all kinds
                _owed.append(None)
                raise ImageError(self.path, _why(None if grid.single_chunk else (level, key), error)) from error

        parallel = pixels.nbytes >= (PARALLEL_RAW_BYTES if grid.raw else PARALLEL_BYTES)
        at_once = MAX_WORKERS if grid.raw else AT_ONCE_BYTES // grid.chunk_bytes
        run_all(fill, keys, at_once if parallel and not grid.sequential else 1)
        return pixels

    def _fill(self, pixels: Pixels, window: Window, level: int, key: ChunkKey) -> None:
        """Copy what `pixels` (of `window`) needs of one chunk."""
        grid = self._grids[level]
        plane, row, column = key
        rows, columns = grid.chunk
        chunk_top, chunk_left = row * rows, column * columns
        top, left = max(window.top, chunk_top), max(window.left, chunk_left)
        bottom = min(window.bottom, chunk_top + rows)
        right = min(window.right, chunk_left + columns)
        first = plane * grid.plane_channels
        target = pixels[
            top - window.top : bottom - window.top,
            left - window.left : right - window.left,
            first : first + grid.plane_channels,
        ]
        if grid.raw:
            grid.copy_part(key, Window(top - chunk_top, left - chunk_left, bottom - top, right - left), target)
            return
        chunk = self._decode(grid, level, key, whole=target.shape[:2] == _stored_size(grid, row, column))
        part = chunk[top - chunk_top : bottom - chunk_top, left - chunk_left : right - chunk_left]
        part = part[:, :, : target.shape[2]]
        if part.shape != target.shape:
            raise ImageError(self.path, f"level {level}, {_place(key)} lacks pixels; the file is damaged")
        target[...] = part

    def _decode(self, grid: ChunkGrid, level: int, key: ChunkKey, *, whole: bool) -> Pixels:
        """Decode a chunk through the cache. One of many that a window covers whole is rarely needed again: not kept."""
        if not whole or grid.single_chunk:
            return self._cache.get_or_load((level, key), lambda: grid.decode(key), grid.chunk_bytes)
        cached = self._cache.get((level, key))
        return grid.decode_briefly(key) if cached is None else cached


def _check_believable(path: Path, grid: ChunkGrid) -> None:
    if grid.channels > MOST_CHANNELS:
        raise ImageError(path, f"claims {grid.channels:,} channels; fit reads at most {MOST_CHANNELS:,}")
    rows, columns = grid.chunk
    count = -(-grid.height // rows) * -(-grid.width // columns) * -(-grid.channels // grid.plane_channels)
    if rows * columns < SMALL_CHUNK and count > MOST_SMALL_CHUNKS:
        raise ImageError(
            path,
            f"is stored in {count:,} chunks of {rows} x {columns} pixels; convert it to chunks of 512 x 512 pixels",
        )


def pyramid(grids: Sequence[ChunkGrid]) -> tuple[Level, ...]:
    """The levels of an image, given their chunks, largest first."""
    return tuple(Level(grid.height, grid.width, _downsample(grids[0], grid)) for grid in grids)


def _downsample(base: ChunkGrid, grid: ChunkGrid) -> float:
    """The power of two it is meant to be where rounding to whole pixels explains the rest, else the mean ratio."""
    ratio = (base.height / grid.height + base.width / grid.width) / 2
    power = 2.0 ** round(math.log2(ratio))
    alike = abs(grid.height - base.height / power) < 1 and abs(grid.width - base.width / power) < 1
    return power if alike else ratio


def _empty(grid: ChunkGrid, window: Window) -> Pixels:
    """An array for the window in the memory order of the file, so that copying a chunk is copying rows."""
    if grid.interleaved:
        return np.empty((window.height, window.width, grid.channels), grid.dtype)
    return np.empty((grid.channels, window.height, window.width), grid.dtype).transpose(1, 2, 0)


def _whole_chunks(grid: ChunkGrid, window: Window) -> int:
    """How many places of the grid the window covers completely."""
    rows, columns = grid.chunk
    bottom = -(-window.bottom // rows) if window.bottom == grid.height else window.bottom // rows
    right = -(-window.right // columns) if window.right == grid.width else window.right // columns
    return max(bottom - -(-window.top // rows), 0) * max(right - -(-window.left // columns), 0)


def _stored_size(grid: ChunkGrid, row: int, column: int) -> tuple[int, int]:
    rows, columns = grid.chunk
    return min(rows, grid.height - row * rows), min(columns, grid.width - column * columns)


def _place(key: ChunkKey) -> str:
    plane, row, column = key
    return f"chunk in row {row}, column {column}" + (f" of plane {plane}" if plane else "")


def _why(place: tuple[int, ChunkKey] | None, error: Exception) -> str:
    """What to tell of a chunk that cannot be decoded; `place` is (level, key), None where there is only one chunk."""
    what = "its pixels" if place is None else f"level {place[0]}, {_place(place[1])}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{what} cannot be decoded ({reason}); the file is damaged, copy or export it again"
