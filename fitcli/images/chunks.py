"""Reads windows of images that are stored in chunks, in any format.

A format describes each level as a `ChunkGrid`. `ChunkedReader` finds the chunks that a window needs, decodes them in
parallel, and keeps those that the next window will need too.
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
from fitcli.images.unsupported import advice_for
from fitcli.images.window import Window

ChunkKey: TypeAlias = tuple[int, int, int]
"""(plane, row, column) of a chunk in its grid."""

MAX_CHUNK_BYTES = 256 << 20
"""Chunks of more decoded bytes are refused. Besides its own pixels, reading a window takes at most this."""

AT_ONCE_BYTES = 64 << 20
"""Bytes of chunks that are decoded at the same time. With a full cache this makes `MAX_CHUNK_BYTES` again."""

PARALLEL_BYTES, PARALLEL_RAW_BYTES = 1 << 20, 16 << 20
"""Bytes of a window above which several threads are faster: if chunks are decoded, and if they are only copied."""

MAX_CHANNELS = 1 << 16
"""Largest number of channels: even a window of one pixel holds that many values."""

SMALL_CHUNK, MAX_SMALL_CHUNKS = 256, 1 << 16
"""A level may have at most `MAX_SMALL_CHUNKS` chunks of fewer than `SMALL_CHUNK` pixels: these cost more to find than
to read. No program stores large images like that, but forged metadata can claim it at no cost."""

_owed: list[None] = []
"""Holds one reference to None per chunk that could not be decoded. A failing `imagecodecs.png_decode` (2026.3.6)
releases one that it does not own, and Python 3.11 aborts when none are left."""


class ChunkGrid(ABC):
    """One level as it is stored: planes of `plane_channels` channels each, cut into chunks.

    Attributes:
        height, width, channels: Size of the level as stored, before any conversion of colours.
        dtype: Dtype of the pixels, in native byte order.
        chunk: (height, width) of a chunk in pixels; those at the bottom and right edge may be stored smaller.
        plane_channels: Channels per chunk.
        interleaved: Whether the channels of a pixel are adjacent in memory, in chunks and in windows.
        raw: Whether parts of a chunk can be read without decoding all of it. Such chunks are not cached.
        sequential: Whether chunks can only be decoded one after the other.
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
        """Return a chunk [rows, columns, plane_channels] that covers its part of the level. Don't write into it."""

    def decode_transient(self, key: ChunkKey) -> Pixels:
        """Like `decode`, but the result is valid only until this thread decodes its next chunk.

        A grid can thus reuse a buffer that stays in the cache of the processor.
        """
        return self.decode(key)

    def copy_part(self, key: ChunkKey, part: Window, target: Pixels) -> None:
        """Copy a part of a chunk into an array of its shape. Used if the grid is `raw`.

        Args:
            key: The chunk.
            part: Window in pixels of the chunk.
            target: Array [part.height, part.width, plane_channels].
        """
        target[...] = self.decode(key)[part.slices()]

    @property
    def single_chunk(self) -> bool:
        """Whether the level is a single chunk."""
        return self.height <= self.chunk[0] and self.width <= self.chunk[1]

    @property
    def chunk_bytes(self) -> int:
        """Size of a decoded chunk in bytes."""
        return self.chunk[0] * self.chunk[1] * self.plane_channels * self.dtype.itemsize


class ChunkedReader(ImageReader):
    """Reads windows of levels that are stored in chunks.

    If the file stores one plane per channel, `read` returns a transposed view of [channels, height, width].

    Args:
        path: Path of the image.
        info: Its description.
        grids: Its levels, largest first.
        finish: Converts stored channels to those of `info` (a palette to colours); None if they are the same.

    Raises:
        ImageError: A level claims too many channels, or too many small chunks.
    """

    def __init__(
        self,
        path: Path,
        info: ImageInfo,
        grids: Sequence[ChunkGrid],
        finish: Callable[[Pixels], Pixels] | None = None,
    ) -> None:
        for grid in grids:
            _check_plausible(path, grid)
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
            except Exception as error:  # codecs raise errors of many types
                _owed.append(None)
                raise ImageError(
                    self.path, _decoding_error(None if grid.single_chunk else (level, key), error)
                ) from error

        parallel = pixels.nbytes >= (PARALLEL_RAW_BYTES if grid.raw else PARALLEL_BYTES)
        at_once = MAX_WORKERS if grid.raw else AT_ONCE_BYTES // grid.chunk_bytes
        run_all(fill, keys, at_once if parallel and not grid.sequential else 1)
        return pixels

    def _fill(self, pixels: Pixels, window: Window, level: int, key: ChunkKey) -> None:
        """Copy the part of one chunk that lies in `window` to `pixels`."""
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
        """Decode a chunk through the cache.

        A chunk that the window covers whole is rarely needed again, so it is not kept unless it is the only one.
        """
        if not whole or grid.single_chunk:
            return self._cache.get_or_load((level, key), lambda: grid.decode(key), grid.chunk_bytes)
        cached = self._cache.get((level, key))
        return grid.decode_transient(key) if cached is None else cached


def _check_plausible(path: Path, grid: ChunkGrid) -> None:
    if grid.channels > MAX_CHANNELS:
        raise ImageError(path, f"claims {grid.channels:,} channels; fit reads at most {MAX_CHANNELS:,}")
    rows, columns = grid.chunk
    count = -(-grid.height // rows) * -(-grid.width // columns) * -(-grid.channels // grid.plane_channels)
    if rows * columns < SMALL_CHUNK and count > MAX_SMALL_CHUNKS:
        raise ImageError(
            path,
            f"is stored in {count:,} chunks of {rows} x {columns} pixels; convert it to chunks of 512 x 512 pixels",
        )


def levels_of(grids: Sequence[ChunkGrid]) -> tuple[Level, ...]:
    """Return the levels of a pyramid, given the grids of its levels, largest first."""
    return tuple(Level(grid.height, grid.width, _downsample(grids[0], grid)) for grid in grids)


def _downsample(base: ChunkGrid, grid: ChunkGrid) -> float:
    """Return the ratio of two levels: a power of two if rounding to whole pixels explains the rest, else the mean."""
    ratio = (base.height / grid.height + base.width / grid.width) / 2
    power = 2.0 ** round(math.log2(ratio))
    alike = abs(grid.height - base.height / power) < 1 and abs(grid.width - base.width / power) < 1
    return power if alike else ratio


def _empty(grid: ChunkGrid, window: Window) -> Pixels:
    """Allocate an array for the window in the memory order of the file, so that chunks are copied row by row."""
    if grid.interleaved:
        return np.empty((window.height, window.width, grid.channels), grid.dtype)
    return np.empty((grid.channels, window.height, window.width), grid.dtype).transpose(1, 2, 0)


def _whole_chunks(grid: ChunkGrid, window: Window) -> int:
    """Count the (row, column) positions of the grid that the window covers completely."""
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


def _decoding_error(place: tuple[int, ChunkKey] | None, error: Exception) -> str:
    """Return the message for a chunk that cannot be decoded; `place` is (level, key), or None for the only chunk."""
    what = "its pixels" if place is None else f"level {place[0]}, {_place(place[1])}"
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{what} cannot be decoded ({reason}); {advice_for(error, 'the file is damaged, copy or export it again')}"
