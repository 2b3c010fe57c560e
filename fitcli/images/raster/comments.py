"""Inserts text, palettes and the scale into encoded PNG and JPEG files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

PNG_HEADER_BYTES = 33
"""Bytes of the signature and of the part IHDR, which comes first."""

COLOR_TYPE, PALETTE = 25, 3
"""Place of the colour type in a PNG, and its value for indices of a palette."""

JFIF_UNITS = 13
"""Place of the units of the density in a JPEG that begins with its JFIF segment; two densities follow."""

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


def png_with_scale(data: bytes, mpp: float) -> bytes:
    """Insert the pixels per metre (pHYs; PNG specification, 11.3.4.3); nothing for a scale that it cannot hold."""
    per_metre = round(1e6 / mpp)
    if not 0 < per_metre < 1 << 31:
        return data
    return _with_chunk(data, b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1))


def jpeg_with_scale(data: bytes, mpp: float) -> bytes:
    """Set the pixels per centimetre (JFIF, density in units of 2); nothing for a scale that it cannot hold."""
    per_centimetre = round(1e4 / mpp)
    if not 0 < per_centimetre < 1 << 16 or data[2:4] != b"\xff\xe0" or data[6:11] != b"JFIF\0":
        return data
    return data[:JFIF_UNITS] + struct.pack(">BHH", 2, per_centimetre, per_centimetre) + data[JFIF_UNITS + 5 :]


def jpeg_with_comment(data: bytes, text: str) -> bytes:
    """Insert a comment into an encoded JPEG (COM; ITU-T T.81, B.2.4.5). It is cut to `JPEG_COMMENT_BYTES`."""
    comment = text.encode()[:JPEG_COMMENT_BYTES]
    # JFIF requires its own segment right after the first marker.
    place = 2 + (2 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 0)
    return data[:place] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[place:]
