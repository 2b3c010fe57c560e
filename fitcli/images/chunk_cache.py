"""Decoded chunks that will be needed again, within a number of bytes.

Knows no files: chunks come from a function that loads them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable

from fitcli.images.base import Pixels

DEFAULT_BYTES = 64 << 20
LARGEST_BYTES = 192 << 20
"""What a cache may grow to when a single window touches more than `DEFAULT_BYTES` of chunks (strips of wide images)."""


class ChunkCache:
    """Least recently used chunks go first. A chunk that several threads ask for at once is loaded once.

    Cached arrays are shared: readers must not write into them.
    """

    def __init__(self, limit_bytes: int = DEFAULT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._chunks: OrderedDict[Hashable, Pixels] = OrderedDict()
        self._start_over()
        _caches.add(self)

    def reserve(self, needed_bytes: int) -> None:
        """Grow, up to `LARGEST_BYTES`, so that `needed_bytes` of chunks fit."""
        self.limit_bytes = max(self.limit_bytes, min(needed_bytes, LARGEST_BYTES))

    def get(self, key: Hashable) -> Pixels | None:
        """A cached chunk, or None."""
        if not self._chunks:  # the common case of aligned windows costs no lock
            return None
        with self._lock:
            pixels = self._chunks.get(key)
            if pixels is not None:
                self._chunks.move_to_end(key)
            return pixels

    def get_or_load(self, key: Hashable, load: Callable[[], Pixels], size: int = 0) -> Pixels:
        """A cached chunk, or the result of `load`, which is kept. Room for its `size` in bytes is made before."""
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
            # the other thread failed: try ourselves, for an error of our own
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
        """Keep this one in any case: a file of one huge chunk would otherwise be decoded for every window."""
        self._drop(self.limit_bytes - pixels.nbytes)
        self._chunks[key] = pixels
        self._bytes += pixels.nbytes

    def _drop(self, left_bytes: int) -> None:
        """Drop the oldest chunks until no more than this is left."""
        while self._chunks and self._bytes > left_bytes:
            _, dropped = self._chunks.popitem(last=False)
            self._bytes -= dropped.nbytes

    def _start_over(self) -> None:
        """Keep the chunks, but nothing that another thread may have held or counted half way."""
        self._lock = threading.Lock()
        self._loading: dict[Hashable, _Loading] = {}
        self._bytes = sum(pixels.nbytes for pixels in self._chunks.values())


class _Loading:
    """A chunk that a thread is loading; `done` is held until it has."""

    __slots__ = ("done", "pixels")

    def __init__(self) -> None:
        self.pixels: Pixels | None = None
        self.done = threading.Lock()
        self.done.acquire()


_caches: weakref.WeakSet[ChunkCache] = weakref.WeakSet()


def _start_all_over() -> None:
    """In a forked child, where the threads that held locks do not exist."""
    for cache in list(_caches):
        cache._start_over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_all_over)
