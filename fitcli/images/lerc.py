"""Parses the headers of LERC pictures (Limited Error Raster Compression, version 2), to bound their output."""

from __future__ import annotations

import struct
import zlib

import imagecodecs

MAGIC = b"Lerc2 "
"""First bytes of a picture."""

ZSTD_MAGIC, ZLIB_MAGIC = b"\x28\xb5\x2f\xfd", b"\x78"
"""First bytes of what GDAL compresses once more (LERC_ZSTD, LERC_DEFLATE)."""

VALUE_BYTES = (1, 1, 2, 2, 4, 4, 4, 8)
"""Bytes of a value by its type in the header."""


def unpacked_lerc(data: bytes, most: int) -> bytes:
    """Return a LERC without the compression that GDAL may add.

    Args:
        data: Stored bytes.
        most: Largest size without it.

    Raises:
        ValueError: It is damaged or larger.
    """
    try:
        if data.startswith(ZSTD_MAGIC):
            return bytes(imagecodecs.zstd_decode(data, out=most))
        if data.startswith(ZLIB_MAGIC):
            decoder = zlib.decompressobj()
            unpacked = decoder.decompress(data, most)
            if decoder.unconsumed_tail:
                raise ValueError(f"it unpacks to more than {most} bytes")
            return unpacked
    except (zlib.error, RuntimeError) as error:
        raise ValueError(f"its compression is damaged or larger than its pixels ({error})") from error
    return data


def lerc_bytes(data: bytes) -> int:
    """Return the bytes that a LERC decodes to. The bands of a picture follow each other, each with a header.

    Raises:
        ValueError: A header is cut off or invalid.
    """
    at = total = 0
    try:
        while True:
            size, decoded = _band(data, at)
            at, total = at + size, total + decoded
            if data[at : at + len(MAGIC)] != MAGIC:
                return total
    except (struct.error, IndexError):
        raise ValueError("its header is cut off") from None


def _band(data: bytes, at: int) -> tuple[int, int]:
    """Return (encoded bytes, decoded bytes) of the band at a position."""
    if data[at : at + len(MAGIC)] != MAGIC:
        raise ValueError("it is not a LERC of version 2")
    (version,) = struct.unpack_from("<i", data, at + 6)
    if version < 2:
        raise ValueError(f"it is a LERC of version 2.{version}")
    place = at + (14 if version >= 3 else 10)  # behind a checksum
    height, width, depth = struct.unpack_from("<iii", data, place)
    depth, place = (depth, place + 12) if version >= 4 else (1, place + 8)
    _, _, size, kind = struct.unpack_from("<iiii", data, place)
    if min(height, width, depth) < 1 or size < place - at + 16 or not 0 <= kind < len(VALUE_BYTES):
        raise ValueError("its header is invalid")
    return size, height * width * depth * VALUE_BYTES[kind]
