"""Inserts text and palettes into encoded PNG and JPEG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

PNG_HEADER_BYTES = 33
"""Bytes of the signature and of the part IHDR, which comes first."""

COLOR_TYPE, PALETTE = 25, 3
"""Place of the colour type in a PNG, and its value for indices of a palette."""

JPEG_COMMENT_BYTES = 65_533
"""Largest comment in bytes: the length of a segment takes two bytes, and counts itself."""


def png_with_text(data: bytes, text: str) -> bytes:
    """Insert a text with the keyword Description, in UTF-8, into an encoded PNG (iTXt; PNG specification, 11.3.4.5)."""
    return _with_chunk(data, b"iTXt" + b"Description\0\0\0\0\0" + text.encode())


def png_with_palette(data: bytes, palette: Iterable[tuple[int, int, int]]) -> bytes:
    """Turn an encoded PNG of 8-bit grey into one of indices of a palette (PLTE; PNG specification, 11.2.2).

    The compressed samples of both are the same.
    """
    header = data[12:COLOR_TYPE] + bytes([PALETTE]) + data[COLOR_TYPE + 1 : PNG_HEADER_BYTES - 4]
    start = data[:12] + header + struct.pack(">I", zlib.crc32(header))
    return _with_chunk(start + data[PNG_HEADER_BYTES:], b"PLTE" + b"".join(bytes(color) for color in palette))


def _with_chunk(data: bytes, chunk: bytes) -> bytes:
    """Insert a part after the header of a PNG: its type and its contents."""
    length, check = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return data[:PNG_HEADER_BYTES] + length + chunk + check + data[PNG_HEADER_BYTES:]


def jpeg_with_comment(data: bytes, text: str) -> bytes:
    """Insert a comment into an encoded JPEG (COM; ITU-T T.81, B.2.4.5). It is cut to `JPEG_COMMENT_BYTES`."""
    comment = text.encode()[:JPEG_COMMENT_BYTES]
    # JFIF requires its own segment right after the first marker.
    place = 2 + (2 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 0)
    return data[:place] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[place:]
