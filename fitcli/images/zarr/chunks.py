"""Finds, reads and decodes the chunks of one zarr array on disk.

Files are read directly. Files outside the store are never read, whatever links it contains.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.chunks import ChunkGrid, ChunkKey
from fitcli.images.plane_grids import FocalStack
from fitcli.images.zarr.codecs import ChunkDecoder, ShardIndex

Coordinates = tuple[int, ...]
"""Index of a chunk in the grid of its array, one number per axis."""

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Names of the files that describe an array or a group."""

MAX_METADATA_BYTES = 4 << 20
"""Largest size of a JSON file in bytes. Parsed, it takes twenty times as much memory."""

MAX_INDEX_BYTES, KEPT_INDEX_BYTES = 16 << 20, 32 << 20
"""Largest size in bytes of the index of one shard (a million chunks), and of all indices that are kept."""

EMPTY = 2**64 - 1
"""Offset and size of a chunk that is missing from a shard."""


class ZarrGrid(ChunkGrid):
    """The chunks of one level.

    Args:
        axes: Axes of the array in lower case.
        shape, chunk: Shape of the array and of a chunk, in this order of axes.
        dtype: Dtype of the array.
        fill: Value of missing chunks; None for 0.
        fetch: Returns a chunk with all axes of the array, or None if it is missing.
        places: Index of the plane that is read along each axis other than y, x and c; 0 for those left out.
    """

    def __init__(
        self,
        axes: str,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        dtype: np.dtype[Any],
        fill: Any,
        fetch: Callable[[Coordinates], Pixels | None],
        places: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        sizes, chunks = dict(zip(axes, shape, strict=True)), dict(zip(axes, chunk, strict=True))
        self.height, self.width, self.channels = sizes["y"], sizes["x"], sizes.get("c", 1)
        self.chunk = chunks["y"], chunks["x"]
        self.plane_channels = chunks.get("c", 1)
        self.interleaved = self.channels == 1 or axes.index("c") > axes.index("y")
        self.dtype = dtype.newbyteorder("=")
        self._fill = np.zeros((), self.dtype) if fill is None else np.asarray(fill).astype(self.dtype)
        self._fetch = fetch
        self._axes = axes
        kept = [axis for axis in axes if axis in "yxc"]
        self._lengths = sizes
        self._chunks = chunks
        self._places = {axis: places.get(axis, 0) // chunks[axis] for axis in axes if axis not in "yxc"}
        self._inside = {axis: places.get(axis, 0) % chunks[axis] for axis in axes if axis not in "yxc"}
        self._to_yxc = tuple(kept.index(axis) for axis in "yxc" if axis in kept)

    def decode(self, key: ChunkKey) -> Pixels:
        return self._plane(self._chunk(key, self._places), self._inside)

    def along(self, axis: str, key: ChunkKey) -> Iterator[Pixels]:
        """Yield a chunk at every index along an axis. What is stored as one chunk is fetched once."""
        size, length = self._chunks[axis], self._lengths[axis]
        for first in range(0, length, size):
            chunk = self._chunk(key, {**self._places, axis: first // size})
            for inside in range(min(size, length - first)):
                yield self._plane(chunk, {**self._inside, axis: inside})

    def _chunk(self, key: ChunkKey, places: Mapping[str, int]) -> Pixels | None:
        plane, row, column = key
        place = {**places, "c": plane, "y": row, "x": column}
        return self._fetch(tuple(place[axis] for axis in self._axes))

    def _plane(self, chunk: Pixels | None, inside: Mapping[str, int]) -> Pixels:
        if chunk is None:
            return np.broadcast_to(self._fill, (*self.chunk, self.plane_channels))
        pixels = chunk[tuple(inside.get(axis, slice(None)) for axis in self._axes)].transpose(self._to_yxc)
        return pixels if pixels.ndim == 3 else pixels[:, :, None]


class ZarrStack(FocalStack):
    """A level with several focal planes along the axis z."""

    def __init__(self, grid: ZarrGrid) -> None:
        self.grid = grid
        self._zarr = grid

    def chunks(self, key: ChunkKey) -> Iterator[Pixels]:
        return self._zarr.along("z", key)


class StoreFiles:
    """The files of one array inside a store.

    Links out of the store are refused: otherwise a store from elsewhere could show any file of this machine.

    Attributes:
        array: Folder of the array.
    """

    def __init__(self, root: Path, array: Path) -> None:
        self._root = os.path.realpath(root)
        self.array = str(array)
        self._safe_folders: set[str] = set()

    def open(self, name: str) -> OpenChunk | None:
        """Open a chunk or shard by its key; return None if it does not exist.

        Raises:
            ImageError: The file is outside this store, or cannot be read.
        """
        path = f"{self.array}/{name}"
        try:
            self.check(path)
            return OpenChunk(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ImageError:
            raise
        except OSError as error:
            raise ImageError(path, f"cannot be read ({error.strerror})") from error

    def check_metadata(self) -> None:
        """Check the metadata files of the array or group before they are parsed.

        Raises:
            ImageError: One of them is outside this store, not a regular file, or too large.
        """
        for name in METADATA:
            path = f"{self.array}/{name}"
            if not os.path.lexists(path):
                continue
            self.check(path)
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(path, "is not a regular file; the zarr store is damaged or forged")
            if status.st_size > MAX_METADATA_BYTES:
                raise ImageError(
                    path, f"holds {status.st_size >> 20} MiB of metadata; the zarr store is damaged or forged"
                )

    def check(self, path: str) -> None:
        """Raise `ImageError` if a path in the array leads out of the store. Each folder is checked once."""
        folder = os.path.dirname(path)
        if folder not in self._safe_folders:
            self._check_real(folder)
            self._safe_folders.add(folder)
        if os.path.islink(path):
            self._check_real(path)

    def _check_real(self, path: str) -> None:
        real = os.path.realpath(path)
        if real != self._root and not real.startswith(self._root + os.sep):
            raise ImageError(path, "is a link that leads out of the zarr store; copy what it points to into the store")


class OpenChunk:
    """An open chunk or shard file.

    Attributes:
        path: Path of the file.
        size: Size of the file in bytes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # opening a pipe must not block
        try:
            status = os.fstat(self._number)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(path, "is not a regular file; the zarr store is damaged or forged")
        except BaseException:
            os.close(self._number)
            raise
        self.size = status.st_size

    def __enter__(self) -> OpenChunk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._number)

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`. Raises `ValueError` if the file is too short."""
        if offset < 0 or offset + count > self.size:
            raise ValueError(f"bytes {offset} to {offset + count} lie beyond a file of {self.size} bytes")
        data = os.pread(self._number, count, offset)
        if len(data) != count:
            raise ValueError(f"only {len(data)} of {count} bytes could be read")
        return data


class ChunkFiles:
    """Fetches chunks that are stored in one file each."""

    def __init__(self, files: StoreFiles, name: Callable[[Coordinates], str], decode: ChunkDecoder) -> None:
        self._files, self._name, self._decode = files, name, decode
        self._limit = encoded_limit(decode)

    def __call__(self, place: Coordinates) -> Pixels | None:
        file = self._files.open(self._name(place))
        if file is None:
            return None
        with file:
            if file.size > self._limit:
                raise ValueError(f"it takes {file.size} bytes for {self._decode.size} bytes of pixels")
            return self._decode(file.read(0, file.size))


class ShardFiles:
    """Fetches chunks that share files (shards), and caches the indices of recent shards."""

    def __init__(
        self, files: StoreFiles, name: Callable[[Coordinates], str], decode: ChunkDecoder, index: ShardIndex
    ) -> None:
        self._files, self._name, self._decode, self._index = files, name, decode, index
        self._limit = encoded_limit(decode)
        self._most_kept = max(KEPT_INDEX_BYTES // index.size, 1)
        self._indices: OrderedDict[Coordinates, Pixels] = OrderedDict()

    def __call__(self, place: Coordinates) -> Pixels | None:
        shard = tuple(at // count for at, count in zip(place, self._index.chunks, strict=True))
        inside = tuple(at % count for at, count in zip(place, self._index.chunks, strict=True))
        file = self._files.open(self._name(shard))
        if file is None:
            return None
        with file:
            offset, count = (int(value) for value in self._read_index(shard, file)[inside])
            if offset == EMPTY and count == EMPTY:
                return None
            if count > self._limit:
                raise ValueError(f"it takes {count} bytes for {self._decode.size} bytes of pixels")
            return self._decode(file.read(offset, count))

    def _read_index(self, shard: Coordinates, file: OpenChunk) -> Pixels:
        # Only single dict operations, so no lock is needed: at worst, two threads read the same index.
        index = self._indices.get(shard)
        if index is None:
            at = file.size - self._index.size if self._index.at_end else 0
            index = self._index.decode(file.read(at, self._index.size))
            self._indices[shard] = index
            if len(self._indices) > self._most_kept:
                self._indices.popitem(last=False)
        return index


def encoded_limit(decode: ChunkDecoder) -> int:
    """Return the largest plausible number of encoded bytes of a chunk."""
    return max(2 * decode.filtered_size, 1 << 20)
