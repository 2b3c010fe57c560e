"""Decodes zarr chunks, for the codec chains that images use; other chains are not supported.

Every decoder has a limit on its output, so that a chunk that expands to gigabytes is an error at once. zarr's own
decoders accept no limit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import google_crc32c
import imagecodecs
import numpy as np

from fitcli.images.base import Pixels
from fitcli.images.zarr.filters import Filters, chunk_filters

MAX_CHECKSUMS = 2
"""Largest number of checksums of a chunk. Each takes a pass over it."""

Decompress = Callable[[bytes, int], bytes | bytearray]
"""Maps (encoded bytes, expected output in bytes) to the output, which is at most one byte larger than expected."""

BLOSC_HEADER = struct.Struct("<4B3I")
"""Two versions, flags, item size; then the decoded size, block size and encoded size (with this header) in bytes."""


def _blosc_decode(data: bytes, size: int) -> bytes | bytearray:
    """Check the sizes in the header first: the decoder trusts them, and would read beyond the end of the data."""
    if len(data) < BLOSC_HEADER.size:
        raise ValueError("it ends early")
    *_, decoded, _, encoded = BLOSC_HEADER.unpack_from(data)
    if encoded > len(data):
        raise ValueError("it ends early")
    if decoded > size:
        raise ValueError(f"its header claims {decoded} bytes, not the declared {size}")
    return imagecodecs.blosc_decode(data, out=size)


DECOMPRESSORS: dict[str, Decompress] = {
    "zstd": lambda data, size: imagecodecs.zstd_decode(data, out=size),
    "blosc": _blosc_decode,
    "gzip": lambda data, size: imagecodecs.gzip_decode(data, out=size),
    "zlib": lambda data, size: imagecodecs.deflate_decode(data, out=size),
    "lz4": lambda data, size: imagecodecs.lz4_decode(data, header=True, out=size),
    # These two stop without an error when the output is full, so one more byte reveals a chunk that is too large.
    "bz2": lambda data, size: imagecodecs.bz2_decode(data, out=size + 1),
    "lzma": lambda data, size: imagecodecs.lzma_decode(data, out=size + 1),
}
"""Decoder per codec name (without "numcodecs."), for zarr 2 and 3."""


@dataclass(frozen=True)
class ChunkDecoder:
    """Decodes the chunks of one array.

    Attributes:
        shape: Shape of a chunk, all axes.
        dtype: Dtype as stored, byte order included.
        order: Axes from slowest to fastest in memory.
        decompress: Decompressor; None if chunks are not compressed.
        checksums: Number of trailing checksums, removed one by one before decompression.
        filters: Filters, undone after decompression; None if there are none.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    decompress: Decompress | None
    checksums: int = 0
    filters: Filters | None = None

    @property
    def size(self) -> int:
        """Size of a decoded chunk in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def filtered_size(self) -> int:
        """Size of a decompressed chunk in bytes, before its filters are undone."""
        return self.size if self.filters is None else self.filters.sizes[-1]

    @property
    def memory(self) -> int:
        """Bytes that decoding a chunk takes."""
        return self.size if self.filters is None else max(self.size, self.filters.memory)

    def __call__(self, data: bytes) -> Pixels:
        """Decode a chunk to a read-only array of `shape`, possibly a view of `data`.

        Raises:
            ValueError: The chunk has too few or too many bytes, or a wrong checksum. Codecs raise errors of their own.
        """
        for _ in range(self.checksums):
            data = without_checksum(data)
        decoded = data if self.decompress is None else self.decompress(data, self.filtered_size)
        if self.filters is not None:
            decoded = self.filters.undo(decoded)
        if len(decoded) != self.size:
            raise ValueError(f"it holds {len(decoded)} bytes, but {self.size} are needed")
        pixels: Pixels = np.frombuffer(decoded, self.dtype)
        if self.order == tuple(range(len(self.shape))):
            return pixels.reshape(self.shape)
        stored = pixels.reshape([self.shape[axis] for axis in self.order])
        return stored.transpose(np.argsort(self.order))


@dataclass(frozen=True)
class ShardIndex:
    """The layout of the index of a shard: a little-endian pair (offset, size) of 64 bits per chunk.

    Attributes:
        chunks: Number of chunks along each axis.
        at_end: Whether the index is at the end of the shard, or at its beginning.
        checksum: Whether a CRC-32C follows the index.
    """

    chunks: tuple[int, ...]
    at_end: bool
    checksum: bool

    @property
    def size(self) -> int:
        """Size of the index in bytes, checksum included."""
        return 16 * math.prod(self.chunks) + 4 * self.checksum

    def decode(self, data: bytes) -> Pixels:
        """Return the index as an array [*chunks, 2] of uint64. Raises `ValueError` if the checksum does not match."""
        if self.checksum:
            data = without_checksum(data)
        return np.frombuffer(data, "<u8").reshape(*self.chunks, 2)


def without_checksum(data: bytes) -> bytes:
    """Verify and remove the CRC-32C at the end.

    Raises:
        ValueError: The checksum does not match.
    """
    body = data[:-4]
    if len(data) < 4 or google_crc32c.value(body) != int.from_bytes(data[-4:], "little"):
        raise ValueError("its checksum does not match")
    return body


def decoder_v2(document: dict[str, Any], dtype: np.dtype[Any]) -> ChunkDecoder | None:
    """Return the decoder for a `.zarray` document; None if it needs codecs that are not supported."""
    compressor = document.get("compressor")
    decompress = None if compressor is None else DECOMPRESSORS.get(compressor["id"])
    if compressor is not None and decompress is None:
        return None
    shape = tuple(document["chunks"])
    axes = tuple(range(len(shape)))
    order = axes[::-1] if document.get("order") == "F" else axes
    filters = chunk_filters(document.get("filters") or [], math.prod(shape), dtype)
    if filters is None:
        return None
    return ChunkDecoder(shape, dtype, order, decompress, filters=filters if filters.codecs else None)


def decoder_v3(codecs: list[dict[str, Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> ChunkDecoder | None:
    """Return the decoder for the codecs of a `zarr.json` document; None if one of them is not supported."""
    order = tuple(range(len(shape)))
    stored: np.dtype[Any] | None = None
    decompress, checksums = None, 0
    for codec in codecs:
        name, options = codec["name"].removeprefix("numcodecs."), codec.get("configuration") or {}
        if name == "transpose" and stored is None and isinstance(options.get("order"), list):
            order = tuple(order[axis] for axis in options["order"])
        elif name == "bytes" and stored is None:
            stored = dtype.newbyteorder(">" if options.get("endian") == "big" else "<")
        elif name == "crc32c" and stored is not None and checksums < MAX_CHECKSUMS:
            checksums += 1
        elif name in DECOMPRESSORS and stored is not None and decompress is None and not checksums:
            decompress = DECOMPRESSORS[name]
        else:
            return None
    return None if stored is None else ChunkDecoder(shape, stored, order, decompress, checksums)


def shard_codecs(
    codecs: list[dict[str, Any]], shard: tuple[int, ...]
) -> tuple[ShardIndex, tuple[int, ...], list[dict[str, Any]]] | None:
    """Return (index layout, chunk shape, chunk codecs) of an array in shards; None unless its shards are supported."""
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return None
    options = codecs[0]["configuration"]
    index_codecs = options["index_codecs"]
    names = [codec["name"] for codec in index_codecs]
    inner = tuple(options["chunk_shape"])
    if names not in (["bytes"], ["bytes", "crc32c"]) or index_codecs[0]["configuration"]["endian"] != "little":
        return None
    if len(inner) != len(shard) or any(step < 1 or size % step for size, step in zip(shard, inner, strict=True)):
        return None
    counts = tuple(size // step for size, step in zip(shard, inner, strict=True))
    at_end = options.get("index_location", "end") == "end"
    return ShardIndex(counts, at_end, len(names) == 2), inner, options["codecs"]
