"""Parses the headers of LERC pictures (Limited Error Raster Compression, version 2), to bound their output."""

from __future__ import annotations

import struct

MAGIC = b"Lerc2 "
"""First bytes of a picture."""

VALUE_BYTES = (1, 1, 2, 2, 4, 4, 4, 8)
"""Bytes of a value by its type in the header."""


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
