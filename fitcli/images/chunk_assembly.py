"""Assembles chunks from windows that arrive in any order, in bounded memory.

Incomplete chunks that do not fit in memory wait in a scratch file.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.files.scratch import ScratchFile
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.window import Window

Key = tuple[int, int, int]
"""(level, row, column) of a chunk."""


@dataclass(slots=True)
class Chunk:
    """A complete chunk.

    Attributes:
        level, row, column: Position in the pyramid, in chunks.
        pixels: Array [height, width, channels], clipped to the image.
    """

    level: int
    row: int
    column: int
    pixels: Pixels


@dataclass(slots=True)
class _OpenChunk:
    """An incomplete chunk.

    Attributes:
        stored: Pixels in memory layout; None while they are in the scratch file.
        missing: Number of pixels not yet written.
        slot: Index of its slot in the scratch file; -1 while the pixels are in memory.
    """

    stored: NDArray[Any] | None
    missing: int
    slot: int = -1


class Assembly:
    """Assembles chunks from disjoint windows that arrive in any order. Thread-safe.

    It takes at most `budget_bytes` for pixels (or one chunk, if that is more), and 1 byte per chunk of the image. Above
    the budget, the least recently touched chunks move to a scratch file.

    Args:
        info: Description of the image; chunks of all `info.levels` are assembled.
        chunk: Side of a chunk in pixels.
        planar: Memory layout of chunks: one channel after the other (True) or one pixel after the other.
        budget_bytes: Memory for incomplete chunks.
        folder: Folder of the scratch file.
    """

    def __init__(self, info: ImageInfo, chunk: int, planar: bool, budget_bytes: int, folder: Path) -> None:
        self._info, self._chunk, self._planar = info, chunk, planar
        self._budget_bytes, self._folder = budget_bytes, folder
        self._slot_bytes = chunk * chunk * info.channels * info.dtype.itemsize
        self._finished = [
            np.zeros((-(-level.height // chunk), -(-level.width // chunk)), dtype=bool) for level in info.levels
        ]
        self._open: OrderedDict[Key, _OpenChunk] = OrderedDict()
        self._resting: dict[Key, _OpenChunk] = {}
        self._open_bytes = 0
        self._scratch: ScratchFile | None = None
        self._slots = 0
        self._free_slots: list[int] = []
        self._lock = threading.Lock()

    def add(self, level: int, window: Window, pixels: Pixels) -> Iterator[Chunk]:
        """Place the pixels of a window, and yield each chunk that they complete. Exhaust the iterator.

        Raises:
            ValueError: The window overlaps an earlier one. Not every overlap is noticed.
            OSError: The scratch file cannot be written or read.
        """
        for row, column in window.chunks(self._chunk, self._chunk):
            extent = self._extent(level, row, column)
            part = extent.intersection(window)
            source = pixels[part.shift(-window.top, -window.left).slices()]
            with self._lock:
                complete = self._place((level, row, column), extent, part, source)
            if complete is not None:
                yield Chunk(level, row, column, complete)

    def remaining(self, level: int) -> list[Key]:
        """List the incomplete chunks of a level, row by row."""
        with self._lock:
            return sorted(key for key in (*self._open, *self._resting) if key[0] == level)

    def take(self, key: Key) -> Chunk:
        """Remove and return an incomplete chunk, with 0 for pixels that were not written."""
        with self._lock:
            opened = self._recall(key)
            assert opened is not None
            assert opened.stored is not None
            self._finished[key[0]][key[1:]] = True
            return Chunk(*key, self._channels_last(opened.stored))

    def close(self) -> None:
        """Drop all chunks and delete the scratch file. Idempotent."""
        with self._lock:
            self._open.clear()
            self._resting.clear()
            if self._scratch is not None:
                self._scratch.close()

    def _extent(self, level: int, row: int, column: int) -> Window:
        size = self._info.levels[level]
        return Window(row * self._chunk, column * self._chunk, self._chunk, self._chunk).clip(size.height, size.width)

    def _place(self, key: Key, extent: Window, part: Window, source: Pixels) -> Pixels | None:
        incomplete = self._open.get(key) or self._resting.get(key)
        if self._finished[key[0]][key[1:]] or (incomplete is not None and incomplete.missing < part.area):
            raise ValueError(f"{part} of level {key[0]} overlaps pixels that were written earlier")
        opened = self._recall(key) or _OpenChunk(self._allocate(extent, whole=part == extent), extent.area)
        assert opened.stored is not None
        self._channels_last(opened.stored)[part.shift(-extent.top, -extent.left).slices()] = source
        opened.missing -= part.area
        if opened.missing == 0:
            self._finished[key[0]][key[1:]] = True
            return self._channels_last(opened.stored)
        self._open[key] = opened
        self._open_bytes += opened.stored.nbytes
        while self._open_bytes > self._budget_bytes and len(self._open) > 1:
            self._rest(*self._open.popitem(last=False))
        return None

    def _allocate(self, extent: Window, whole: bool) -> NDArray[Any]:
        shape = (extent.height, extent.width, self._info.channels)
        if self._planar:
            shape = (shape[2], *shape[:2])
        return (np.empty if whole else np.zeros)(shape, self._info.dtype)

    def _channels_last(self, stored: NDArray[Any]) -> Pixels:
        return stored.transpose(1, 2, 0) if self._planar else stored

    def _rest(self, key: Key, opened: _OpenChunk) -> None:
        """Move a chunk from memory to the scratch file."""
        assert opened.stored is not None
        if self._scratch is None:
            self._scratch = ScratchFile(self._folder)
        if self._free_slots:
            opened.slot = self._free_slots.pop()
        else:
            opened.slot = self._slots
            self._slots += 1
        self._scratch.write(opened.stored.data, opened.slot * self._slot_bytes)
        self._open_bytes -= opened.stored.nbytes
        opened.stored = None
        self._resting[key] = opened

    def _recall(self, key: Key) -> _OpenChunk | None:
        """Remove an incomplete chunk and return it with its pixels in memory; None if none of it has been written."""
        opened = self._open.pop(key, None)
        if opened is not None:
            assert opened.stored is not None
            self._open_bytes -= opened.stored.nbytes
            return opened
        opened = self._resting.pop(key, None)
        if opened is not None:
            assert self._scratch is not None
            opened.stored = self._allocate(self._extent(*key), whole=True)
            self._scratch.read_into(opened.stored.data, opened.slot * self._slot_bytes)
            self._free_slots.append(opened.slot)
            opened.slot = -1
        return opened
