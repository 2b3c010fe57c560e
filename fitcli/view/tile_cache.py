"""Keeps encoded tiles that will be asked for again, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

LIMIT_BYTES = 64 << 20
"""Bytes of tiles that are kept."""

OVERHEAD = 200
"""Bytes that an entry takes beside its tile."""


class TileCache:
    """The tiles that were used last. Thread-safe.

    Args:
        limit_bytes: Bytes of tiles that are kept.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit, self._bytes, self._lock = limit_bytes, 0, threading.Lock()
        self._tiles: OrderedDict[Hashable, bytes] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Bytes of the tiles that are kept."""
        return self._bytes

    def get(self, key: Hashable) -> bytes | None:
        """Return a tile, or None."""
        with self._lock:
            if (tile := self._tiles.get(key)) is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: Hashable, tile: bytes) -> None:
        """Keep a tile, in place of those that were not used for longest. One above the limit is not kept."""
        size = len(tile) + OVERHEAD
        with self._lock:
            if size > self._limit or key in self._tiles:
                return
            self._tiles[key] = tile
            self._bytes += size
            while self._bytes > self._limit:
                _, dropped = self._tiles.popitem(last=False)
                self._bytes -= len(dropped) + OVERHEAD
