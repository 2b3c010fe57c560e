"""Keeps decoded chunks that will be needed again, up to a number of bytes."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable

from fitcli.images.base import Pixels

DEFAULT_BYTES = 64 << 20
"""Usual limit of a cache in bytes."""

LARGEST_BYTES = 192 << 20
"""Limit of a cache in bytes when one window touches more than `DEFAULT_BYTES` of chunks (strips of wide images)."""


class ChunkCache:
    """A cache of chunks that drops the least recently used one first.

    If several threads need a chunk at once, one of them loads it and the others wait. Don't write into cached arrays:
    they are shared.

    Attributes:
        limit_bytes: Bytes of chunks that are kept. A single chunk may be larger.
    """

    def __init__(self, limit_bytes: int = DEFAULT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._chunks: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._start_over()
        _caches.add(self)

    def reserve(self, needed_bytes: int) -> None:
        """Raise the limit so that `needed_bytes` of chunks fit, at most to `LARGEST_BYTES`."""
        self.limit_bytes = max(self.limit_bytes, min(needed_bytes, LARGEST_BYTES))

    def get(self, key: Hashable) -> Pixels | None:
        """Return a cached chunk, or None."""
        if not self._chunks:  # avoids the lock in the common case of windows that are aligned with chunks
            return None
        with self._lock:
            pixels = self._chunks.get(key)
            if pixels is not None:
                self._chunks.move_to_end(key)
            return pixels

    def get_or_load(self, key: Hashable, load: Callable[[], Pixels], size: int = 0) -> Pixels:
        """Return a cached chunk, or load and keep it.

        Args:
            key: Name of the chunk.
            load: Loads the chunk; its errors are passed on.
            size: Bytes of the loaded chunk. Older chunks are dropped first, to make room for it.
        """
        while True:
            with self._lock:
                pixels = self._chunks.get(key)
                if pixels is not None:
                    self._chunks.move_to_end(key)
                    return pixels
                loading = self._loading.get(key)
                if loading is None:
                    mine = self._loading[key] = _Loading()
                    self._drop(self.limit_bytes - size)
                    break
            with loading.done:
                if loading.pixels is not None:
                    return loading.pixels
            # The other thread failed. Try again here, so that this caller gets its own error.
        try:
            mine.pixels = load()
            with self._lock:
                self._keep(key, mine.pixels)
            return mine.pixels
        finally:
            with self._lock:
                self._loading.pop(key, None)
            mine.done.release()

    def clear(self) -> None:
        """Drop all chunks."""
        with self._lock:
            self._chunks.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, pixels: Pixels) -> None:
        """Keep a chunk of any size: otherwise a file of one huge chunk would be decoded for every window."""
        self._drop(self.limit_bytes - pixels.nbytes)
        self._chunks[key] = pixels
        self._bytes += pixels.nbytes

    def _drop(self, left_bytes: int) -> None:
        """Drop the least recently used chunks until at most `left_bytes` remain."""
        while self._chunks and self._bytes > left_bytes:
            _, dropped = self._chunks.popitem(last=False)
            self._bytes -= dropped.nbytes

    def _start_over(self) -> None:
        """Reset locks and counts, which another thread may have left in the middle of a change; keep the chunks."""
        self._lock = threading.Lock()
        self._loading: dict[Hashable, _Loading] = {}
        self._bytes = sum(pixels.nbytes for pixels in self._chunks.values())


class _Loading:
    """A chunk that a thread is loading. The thread holds the lock `done` until it has finished."""

    __slots__ = ("done", "pixels")

    def __init__(self) -> None:
        self.pixels: Pixels | None = None
        self.done = threading.Lock()
        self.done.acquire()


_caches: weakref.WeakSet[ChunkCache] = weakref.WeakSet()


def _start_all_over() -> None:
    """Reset the caches in a forked child, where the threads that held locks do not exist."""
    for cache in list(_caches):
        cache._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_over)
