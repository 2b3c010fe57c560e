"""The chunks of one zarr array on disk, in the order of its axes: which file, which bytes, decoded by what.

Files are read directly; nothing outside the store is, whatever links it contains. Knows no pyramids.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.chunks import ChunkGrid, ChunkKey
from fitcli.images.zarr.codecs import WIDEST, ChunkDecoder, ShardIndex

Coordinates = tuple[int, ...]
"""Of a chunk in the grid of its array, one per axis."""

METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
"""Files that describe an array or a group."""

MAX_METADATA_BYTES = 4 << 20
"""Of a file in JSON, which takes twenty times as much when parsed."""

MAX_INDEX_BYTES, KEPT_INDEX_BYTES = 16 << 20, 32 << 20
"""Of the index of one shard (a million chunks), and of those that are kept."""

EMPTY = 2**64 - 1
"""Offset and count of a chunk that a shard does not hold."""


class ZarrGrid(ChunkGrid):
    """One level. `fetch` gives a chunk with all axes of the array, or None where it is missing.

    `axes` are the array's, in lower case; those other than y, x and c have length 1.
    """

    def __init__(
        self,
        axes: str,
        shape: tuple[int, ...],
        chunk: tuple[int, ...],
        dtype: np.dtype[Any],
        fill: Any,
        fetch: Callable[[Coordinates], Pixels | None],
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
        self._first = tuple(slice(None) if axis in "yxc" else 0 for axis in axes)
        self._to_yxc = tuple(kept.index(axis) for axis in "yxc" if axis in kept)

    def decode(self, key: ChunkKey) -> Pixels:
        plane, row, column = key
        place = {"c": plane, "y": row, "x": column}
        chunk = self._fetch(tuple(place.get(axis, 0) for axis in self._axes))
        if chunk is None:
            return np.broadcast_to(self._fill, (*self.chunk, self.plane_channels))
        pixels = chunk[self._first].transpose(self._to_yxc)
        return pixels if pixels.ndim == 3 else pixels[:, :, None]


class StoreFiles:
    """Files of one array inside a store.

    Links that lead out of the store are refused: a store from elsewhere could otherwise show any file of this machine.

    Attributes:
        array: Its folder.
    """

    def __init__(self, root: Path, array: Path) -> None:
        self._root = os.path.realpath(root)
        self.array = str(array)
        self._safe_folders: set[str] = set()

    def open(self, name: str) -> OpenChunk | None:
        """Open a chunk or shard by its key; None where it does not exist.

        Raises:
            ImageError: It is not a file of this store, or cannot be read.
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
        """Look at the files that describe the array or group before anything reads them.

        Raises:
            ImageError: One of them is no file of this store, or too large to be read.
        """
        for name in METADATA:
            path = f"{self.array}/{name}"
            if not os.path.lexists(path):
                continue
            self.check(path)
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(path, "is no regular file; the zarr store is damaged or forged")
            if status.st_size > MAX_METADATA_BYTES:
                raise ImageError(
                    path, f"is {status.st_size >> 20} MiB of metadata; the zarr store is damaged or forged"
                )

    def check(self, path: str) -> None:
        """Raise `ImageError` if a path in the array leads out of the store. Folders are looked at once."""
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
    """An open chunk or shard file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not make us wait
        try:
            status = os.fstat(self._number)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(path, "is no regular file; the zarr store is damaged or forged")
        except BaseException:
            os.close(self._number)
            raise
        self.size = status.st_size

    def __enter__(self) -> OpenChunk:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._number)

    def read(self, offset: int, count: int) -> bytes:
        """Raises `ValueError` where the file ends before."""
        if offset < 0 or offset + count > self.size:
            raise ValueError(f"bytes {offset} to {offset + count} are needed of a file of {self.size}")
        data = os.pread(self._number, count, offset)
        if len(data) != count:
            raise ValueError(f"only {len(data)} of {count} bytes could be read")
        return data


class ChunkFiles:
    """Fetches chunks that are files of their own."""

    def __init__(self, files: StoreFiles, name: Callable[[Coordinates], str], decode: ChunkDecoder) -> None:
        self._files, self._name, self._decode = files, name, decode
        self._limit = encoded_limit(decode)

    def __call__(self, place: Coordinates) -> Pixels | None:
        file = self._files.open(self._name(place))
        if file is None:
            return None
        with file:
            if file.size > self._limit:
                raise ValueError(f"{file.size} bytes are stored for {self._decode.size} bytes of pixels")
            return self._decode(file.read(0, file.size))


class ShardFiles:
    """Fetches chunks that share files (shards); keeps the index of the shards seen last."""

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
                raise ValueError(f"{count} bytes are stored for {self._decode.size} bytes of pixels")
            return self._decode(file.read(offset, count))

    def _read_index(self, shard: Coordinates, file: OpenChunk) -> Pixels:
        # single dict operations only, so that no lock is needed: at worst two threads read the same index
        index = self._indices.get(shard)
        if index is None:
            at = file.size - self._index.size if self._index.at_end else 0
            index = self._index.decode(file.read(at, self._index.size))
            self._indices[shard] = index
            if len(self._indices) > self._most_kept:
                self._indices.popitem(last=False)
        return index


def encoded_limit(decode: ChunkDecoder) -> int:
    """Encoded bytes from which a chunk is nonsense."""
    widened = WIDEST if decode.filters else 1
    return max(2 * decode.size * widened, 1 << 20)
