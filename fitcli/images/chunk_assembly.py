"""Chunks that wait for the rest of their pixels, in a bounded amount of memory.

Knows levels and chunks, but not how they are encoded or where they go; what does not fit in memory waits in a scratch
file.
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
    """A complete chunk: where it belongs, and [height, width, channels] of what lies on the image."""

    level: int
    row: int
    column: int
    pixels: Pixels


@dataclass(slots=True)
class _OpenChunk:
    stored: NDArray[Any] | None
    """In memory layout; None while it rests in the scratch file."""
    missing: int
    """Pixels still to be written."""
    slot: int = -1
    """Its place in the scratch file, -1 if it has none."""


class Assembly:
    """Puts chunks together from disjoint windows that come in any order. Thread-safe.

    Memory: at most `budget_bytes` of pixels (or one chunk, if that is more), and 1 byte per chunk of the image; what
    is over the budget waits in a scratch file in `folder`, the least recently touched chunk first.

    Args:
        info: Of the image; `info.levels` are those to be assembled.
        chunk: Side of a chunk in pixels.
        planar: Whether one channel after the other lies in memory, or one pixel after the other.
        folder: Where the scratch file goes.
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
        """Place the pixels of a window of a level; yields each chunk that they complete. To be exhausted.

        Raises:
            ValueError: A part of the window is found to have been written before (not always found).
            OSError: The scratch file cannot be written or read.
        """
        for row, column in window.chunks(self._chunk, self._chunk):
            cell = self._cell(level, row, column)
            part = cell.intersection(window)
            source = pixels[part.shift(-window.top, -window.left).slices()]
            with self._lock:
                complete = self._place((level, row, column), cell, part, source)
            if complete is not None:
                yield Chunk(level, row, column, complete)

    def remaining(self, level: int) -> list[Key]:
        """Chunks of a level of which some pixels have been written and some not, row by row."""
        with self._lock:
            return sorted(key for key in (*self._open, *self._resting) if key[0] == level)

    def take(self, key: Key) -> Chunk:
        """Take a remaining chunk as it is, 0 where nothing was written."""
        with self._lock:
            opened = self._recall(key)
            assert opened is not None
            assert opened.stored is not None
            self._finished[key[0]][key[1:]] = True
            return Chunk(*key, self._channels_last(opened.stored))

    def close(self) -> None:
        """Forget everything and give the disk space back. Idempotent."""
        with self._lock:
            self._open.clear()
            self._resting.clear()
            if self._scratch is not None:
                self._scratch.close()

    def _cell(self, level: int, row: int, column: int) -> Window:
        size = self._info.levels[level]
        return Window(row * self._chunk, column * self._chunk, self._chunk, self._chunk).clip(size.height, size.width)

    def _place(self, key: Key, cell: Window, part: Window, source: Pixels) -> Pixels | None:
        known = self._open.get(key) or self._resting.get(key)
        if self._finished[key[0]][key[1:]] or (known is not None and known.missing < part.area):
            raise ValueError(f"{part} of level {key[0]} overlaps what has been written already")
        opened = self._recall(key) or _OpenChunk(self._allocate(cell, whole=part == cell), cell.area)
        assert opened.stored is not None
        self._channels_last(opened.stored)[part.shift(-cell.top, -cell.left).slices()] = source
        opened.missing -= part.area
        if opened.missing == 0:
            self._finished[key[0]][key[1:]] = True
            return self._channels_last(opened.stored)
        self._open[key] = opened
        self._open_bytes += opened.stored.nbytes
        while self._open_bytes > self._budget_bytes and len(self._open) > 1:
            self._rest(*self._open.popitem(last=False))
        return None

    def _allocate(self, cell: Window, whole: bool) -> NDArray[Any]:
        shape = (cell.height, cell.width, self._info.channels)
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
        """Take a chunk out of the books, back in memory; None if nothing of it has been written yet."""
        opened = self._open.pop(key, None)
        if opened is not None:
            assert opened.stored is not None
            self._open_bytes -= opened.stored.nbytes
            return opened
        opened = self._resting.pop(key, None)
        if opened is not None:
            assert self._scratch is not None
            opened.stored = self._allocate(self._cell(*key), whole=True)
            self._scratch.read_into(opened.stored.data, opened.slot * self._slot_bytes)
            self._free_slots.append(opened.slot)
            opened.slot = -1
        return opened
