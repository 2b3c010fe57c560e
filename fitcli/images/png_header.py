"""Parses the header of a PNG file: size, type of pixels, palette."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
"""First bytes of every PNG file."""

SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples per pixel by colour type: grey, colour, palette, grey and alpha, colour and alpha."""

PALETTE = 3
"""Colour type whose samples are indices of the palette."""

BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Allowed bits per sample by colour type (W3C PNG, third edition, table 12)."""

MAX_PARTS = 1 << 20
"""Largest plausible number of parts (PNG chunks) of a file: with the usual 8 KiB each, they hold 8 GiB."""

MAX_SMALL_PARTS, USUAL_BYTES = 10_000, 256
"""A file of more than `MAX_SMALL_PARTS` parts has at least `USUAL_BYTES` bytes per part: each takes microseconds."""

MAX_KEPT_BYTES = 768
"""Largest part that is parsed, in bytes: a palette of 256 colours."""


@dataclass(frozen=True, slots=True)
class PngHeader:
    """The metadata in front of the pixels.

    Attributes:
        height, width: Size in pixels.
        bits: Bits per sample.
        kind: Colour type, a key of `SAMPLES`.
        interlaced: Whether the rows are stored as seven smaller pictures (Adam7).
        palette: Red, green, blue, red, ...: 3 bytes per colour; empty if there is no palette.
        alpha: Alpha of the first colours of the palette, 1 byte each; None if the file has no tRNS part.
        start: Position of the first part with pixels, in bytes from the start of the file.
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
        """Bytes of a row, without the byte in front of it that names its filter."""
        return -(-self.width * SAMPLES[self.kind] * self.bits // 8)

    @property
    def pixel_bytes(self) -> int:
        """Distance in bytes to the left neighbour that filters use; 1 if several pixels share a byte."""
        return max(SAMPLES[self.kind] * self.bits // 8, 1)


def read_header(file: BinaryIO) -> PngHeader:
    """Read the header of a PNG, and check that all parts up to its end are there. Pixels are not read.

    Raises:
        ValueError: The file is damaged, cut off, or against the format.
        OSError: The file cannot be read.
    """
    contents: dict[bytes, bytes] = {}
    start = None
    at, size = len(SIGNATURE), file.seek(0, os.SEEK_END)
    for number in range(MAX_PARTS):
        if number > MAX_SMALL_PARTS and at < number * USUAL_BYTES:
            raise ValueError(f"it has more than {number:,} parts in {at:,} bytes")
        file.seek(at)
        length, name = unpack(">I4s", file.read(8))
        if at + 12 + length > size:
            raise ValueError("it ends early")
        if name in (b"IHDR", b"PLTE", b"tRNS") and length <= MAX_KEPT_BYTES:
            contents[name] = file.read(length)
            verify_checksum(name, zlib.crc32(name + contents[name]), file.read(4))
        elif name == b"IDAT" and start is None:
            start = at
        elif name == b"IEND":
            return _header(contents, start)
        at += 12 + length
    raise ValueError(f"it has more than {MAX_PARTS:,} parts")


def verify_checksum(name: bytes, checksum: int, stored: bytes) -> None:
    """Compare the checksum of a part with the stored one.

    Raises:
        ValueError: The checksums differ.
    """
    if unpack(">I", stored) != (checksum,):
        raise ValueError(f"the checksum of its part {name.decode('ascii', 'replace')} does not match")


def unpack(form: str, data: bytes) -> tuple[Any, ...]:
    """Call `struct.unpack`.

    Raises:
        ValueError: The data is too short.
    """
    try:
        return struct.unpack(form, data)
    except struct.error:
        raise ValueError("it ends early") from None


def _header(contents: dict[bytes, bytes], start: int | None) -> PngHeader:
    width, height, bits, kind, compression, filters, interlace = unpack(">IIBBBBB", contents.get(b"IHDR", b""))
    if bits not in BITS.get(kind, ()) or compression or filters or interlace > 1 or not width or not height:
        raise ValueError("its header is invalid")
    if start is None:
        raise ValueError("it holds no pixels")
    palette = contents.get(b"PLTE", b"")
    if kind == PALETTE and (not palette or len(palette) % 3):
        raise ValueError("its palette is invalid")
    return PngHeader(height, width, bits, kind, bool(interlace), palette, contents.get(b"tRNS"), start)
