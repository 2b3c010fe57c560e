"""Writes arrays of a zarr 3 store with the `sharding_indexed` codec, from encoded chunks in any order.

Each chunk is appended to the file of its shard. The index is appended when the shard is complete.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from fitcli.files.scratch import write_all

ABSENT = np.iinfo(np.uint64).max
"""Offset and size of a chunk that is missing (zarr 3 sharding specification)."""


@dataclass(slots=True)
class _Shard:
    """An incomplete shard.

    Attributes:
        path: Path of its file.
        index: Array [plane, row, column, (offset, size)], in bytes.
        missing: Number of (row, column) positions whose chunks are not yet written.
        size: Bytes written so far.
    """

    path: Path
    index: NDArray[np.uint64]
    missing: int
    size: int = 0


class ShardedArray:
    """Writes a [channel, y, x] array as square shards. Thread-safe.

    Args:
        folder: Folder of the array. Shards are files `c/0/ROW/COLUMN` in it.
        grid: (rows, columns) of chunks in the array.
        planes: Number of chunks along the channel axis, all in the same shard.
        side: Number of chunks along each side of a shard.
    """

    def __init__(self, folder: Path, grid: tuple[int, int], planes: int, side: int) -> None:
        self._folder, self._grid, self._planes, self._side = folder, grid, planes, side
        self._shards: dict[tuple[int, int], _Shard] = {}
        self._lock = threading.Lock()

    def put(self, row: int, column: int, pieces: list[bytes]) -> None:
        """Store the encoded chunks of all planes at one position. Call once per position. May raise `OSError`."""
        data = b"".join(pieces)
        sizes = np.array([len(piece) for piece in pieces], dtype=np.uint64)
        place = row // self._side, column // self._side
        with self._lock:
            shard = self._shards.get(place) or self._start(place)
            offset = shard.size
            shard.size += len(data)
            shard.index[:, row % self._side, column % self._side, 0] = offset + np.cumsum(sizes) - sizes
            shard.index[:, row % self._side, column % self._side, 1] = sizes
            shard.missing -= 1
            complete = shard.missing == 0
            if complete:
                del self._shards[place]
        self._append(shard, data, offset)
        if complete:
            self._append(shard, _index_bytes(shard.index), shard.size)

    def finish(self) -> None:
        """Write the indices of shards that are still incomplete. May raise `OSError`."""
        for shard in self._shards.values():
            self._append(shard, _index_bytes(shard.index), shard.size)
        self._shards.clear()

    def _start(self, place: tuple[int, int]) -> _Shard:
        rows, columns = (
            min(self._side, chunks - position * self._side) for chunks, position in zip(self._grid, place, strict=True)
        )
        path = self._folder / "c" / "0" / str(place[0]) / str(place[1])
        path.parent.mkdir(parents=True, exist_ok=True)
        index = np.full((self._planes, self._side, self._side, 2), ABSENT, dtype=np.uint64)
        self._shards[place] = _Shard(path, index, rows * columns)
        return self._shards[place]

    def _append(self, shard: _Shard, data: bytes, offset: int) -> None:
        # Opened each time: a large image has more incomplete shards than a process may have open files.
        descriptor = os.open(shard.path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            write_all(descriptor, data, offset)
        finally:
            os.close(descriptor)


def _index_bytes(index: NDArray[np.uint64]) -> bytes:
    data = index.astype("<u8", copy=False).tobytes()
    return data + int(google_crc32c.value(data)).to_bytes(4, "little")
