"""What a PNG file says about itself: its size, its kind of pixels, its palette."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples per pixel: grey, colour, palette, grey and alpha, colour and alpha."""

PALETTE = 3
"""The colour type whose samples are numbers of colours."""

BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Colour type -> bits per sample that the format allows (W3C PNG, third edition, table 12)."""

MOST_PARTS = 1 << 20
"""Parts of a file that are believed: with the customary 8 KiB in each, they hold 8 GiB."""

LONGEST_KEPT = 768
"""Bytes of the parts that are looked into: a palette of 256 colours."""


@dataclass(frozen=True, slots=True)
class PngHeader:
    """What stands in front of the pixels.

    Attributes:
        height, width: In pixels.
        bits: Per sample.
        kind: Colour type, a key of `SAMPLES`.
        interlaced: The rows are those of seven smaller pictures.
        palette: Red, green, blue, red, ...: 3 bytes per colour; empty without.
        alpha: Of the first colours of the palette; None where the file has no tRNS part.
        start: Position of the first part with pixels in the file.
    """

    height: int
    width: int
    bits: int
    kind: int
    interlaced: bool
    palette: bytes
    alpha: bytes | None
    start: int

    @property
    def row_bytes(self) -> int:
        """Of a row without the byte in front of it that names its filter."""
        return -(-self.width * SAMPLES[self.kind] * self.bits // 8)

    @property
    def pixel_bytes(self) -> int:
        """Distance of the byte on the left that filters look at; 1 where several pixels share a byte."""
        return max(SAMPLES[self.kind] * self.bits // 8, 1)


def read_header(file: BinaryIO) -> PngHeader:
    """Look at the names and lengths of all parts of a PNG, to its end; no pixels are read.

    Raises:
        ValueError: It is damaged or cut off, or claims what the format does not know.
        OSError: It cannot be read.
    """
    found: dict[bytes, bytes] = {}
    start = None
    at, size = len(SIGNATURE), file.seek(0, os.SEEK_END)
    for _ in range(MOST_PARTS):
        file.seek(at)
        length, name = unpack(">I4s", file.read(8))
        if at + 12 + length > size:
            raise ValueError("it ends early")
        if name in (b"IHDR", b"PLTE", b"tRNS") and length <= LONGEST_KEPT:
            found[name] = file.read(length)
            check_sum(name, zlib.crc32(name + found[name]), file.read(4))
        elif name == b"IDAT" and start is None:
            start = at
        elif name == b"IEND":
            return _header(found, start)
        at += 12 + length
    raise ValueError(f"it has more than {MOST_PARTS:,} parts")


def check_sum(name: bytes, checksum: int, stored: bytes) -> None:
    """Compare the checksum of a part with the one behind it.

    Raises:
        ValueError: They differ.
    """
    if unpack(">I", stored) != (checksum,):
        raise ValueError(f"the checksum of its part {name.decode('ascii', 'replace')} does not match")


def unpack(form: str, data: bytes) -> tuple[Any, ...]:
    """`struct.unpack`.

    Raises:
        ValueError: There is less data.
    """
    try:
        return struct.unpack(form, data)
    except struct.error:
        raise ValueError("it ends early") from None


def _header(found: dict[bytes, bytes], start: int | None) -> PngHeader:
    width, height, bits, kind, compression, filters, interlace = unpack(">IIBBBBB", found.get(b"IHDR", b""))
    if bits not in BITS.get(kind, ()) or compression or filters or interlace > 1 or not width or not height:
        raise ValueError("its header makes no sense")
    if start is None:
        raise ValueError("it holds no pixels")
    palette = found.get(b"PLTE", b"")
    if kind == PALETTE and (not palette or len(palette) % 3):
        raise ValueError("its palette makes no sense")
    return PngHeader(height, width, bits, kind, bool(interlace), palette, found.get(b"tRNS"), start)
