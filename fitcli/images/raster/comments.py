"""Inserts text into encoded PNG and JPEG files."""

from __future__ import annotations

import struct
import zlib

PNG_HEADER_BYTES = 33
"""Bytes of the signature and of the part IHDR, which comes first."""

JPEG_COMMENT_BYTES = 65_533
"""Largest comment in bytes: the length of a segment takes two bytes, and counts itself."""


def png_with_text(data: bytes, text: str) -> bytes:
    """Insert a text with the keyword Description, in UTF-8, into an encoded PNG (iTXt; PNG specification, 11.3.4.5)."""
    chunk = b"iTXt" + b"Description\0\0\0\0\0" + text.encode()
    length, check = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
    return data[:PNG_HEADER_BYTES] + length + chunk + check + data[PNG_HEADER_BYTES:]


def jpeg_with_comment(data: bytes, text: str) -> bytes:
    """Insert a comment into an encoded JPEG (COM; ITU-T T.81, B.2.4.5). It is cut to `JPEG_COMMENT_BYTES`."""
    comment = text.encode()[:JPEG_COMMENT_BYTES]
    # JFIF requires its own segment right after the first marker.
    place = 2 + (2 + int.from_bytes(data[4:6], "big") if data[2:4] == b"\xff\xe0" else 0)
    return data[:place] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + data[place:]
