"""Parses the headers of compressed pictures, so that their size is checked before they are decoded.

A chunk of a few bytes can make its decoder allocate gigabytes, and decoders of whole images accept no limit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Second bytes of the markers that start a frame (SOF). The three excluded ones start tables."""

PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
"""Second bytes of the frame markers of progressive pictures, whose scans each refine all pixels."""

START_OF_SCAN = 0xDA
"""Second byte of the marker in front of the pixels."""

PREFIX_BYTES = (1 << 16, 1 << 22, 1 << 26)
"""Bytes that are read from the beginning of a JPEG file to find its frame; the smallest number mostly suffices."""

MAX_SEGMENTS = 1 << 14
"""Largest number of segments in front of the pixels of a JPEG. A colour profile takes at most 255."""

MAX_SCANS, MAX_SCANNED_BLOCKS = 1000, 1 << 28
"""Largest number of scans of a JPEG, and of 8 x 8 blocks that all scans together visit: each scan visits all of them,
even if it takes only a few bytes. Encoders write about ten scans."""

MARGIN = 16
"""Pixels by which a chunk may exceed its declared size: some encoders round up to whole coding units."""


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """The frame header of a JPEG.

    Attributes:
        height, width: Size in pixels.
        bits: Bits per sample.
        components: Samples per pixel.
        coefficients: Coefficients per pixel; fewer than `components` if colours are stored at a lower resolution.
        progressive: Whether the picture is stored in several scans: a decoder then keeps all coefficients.
        scanned: Whether the given bytes reach to the first scan. If not, `progressive` may be False by mistake.
    """

    height: int
    width: int
    bits: int
    components: int
    coefficients: float
    progressive: bool
    scanned: bool


def read_jpeg_frame(path: Path) -> JpegFrame:
    """Find the frame header of a JPEG file, behind any other segments.

    Raises:
        ValueError: The file has no frame header, or an invalid one.
        OSError: The file cannot be read.
    """
    for count in PREFIX_BYTES:
        with path.open("rb") as file:
            data = file.read(count)
        if (frame := jpeg_frame(data)) and frame.scanned:
            return frame
        if len(data) < count:
            break
    raise ValueError("it has no frame header")


def jpeg_frame(data: bytes) -> JpegFrame | None:
    """Parse the frame header of a JPEG (ITU-T T.81, section B.2.2), given its first bytes.

    Returns:
        None if the header lies beyond the given bytes.

    Raises:
        ValueError: The header is invalid.
    """
    try:
        at, first_scan = _frame_and_scan(data)
        if at is None:
            return None
        bits, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
        factors = [data[at + 11 + 3 * number] for number in range(components)]
    except (struct.error, IndexError):
        return None
    areas = [(factor >> 4) * (factor & 15) for factor in factors]
    if not height or not width or not areas or not min(areas):
        raise ValueError(f"its header is invalid: {width} x {height} pixels of {components} samples")
    coefficients = sum(areas) / max(areas)
    in_parts = first_scan is not None and data[first_scan + 4] < components
    several = data[at + 1] in PROGRESSIVE or in_parts
    return JpegFrame(height, width, bits, components, coefficients, several, first_scan is not None)


def check_scans(data: bytes, frame: JpegFrame) -> None:
    """Check that the scans of a JPEG can be decoded in a reasonable time.

    Raises:
        ValueError: It has too many scans.
    """
    # In entropy-coded data, no such marker can occur. Thumbnails in other segments may add a few.
    scans = data.count(b"\xff\xda")
    blocks = -(-frame.height // 8) * -(-frame.width // 8) * frame.coefficients
    if scans > MAX_SCANS or (scans > frame.components and scans * blocks > MAX_SCANNED_BLOCKS):
        raise ValueError(f"its pixels are stored in {scans:,} scans, too many to decode in a reasonable time")


def encoded_size(data: bytes) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG, JPEG 2000, PNG or WebP; None for other formats and headers without a size."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
        if data[:4] == b"\xff\x4f\xff\x51":
            return _jpeg2000_size(data, 4)
        if data[4:8] == b"jP  ":
            start = data.find(b"\xff\x4f\xff\x51")
            return _jpeg2000_size(data, start + 4) if start >= 0 else None
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack_from(">II", data, 16)
            return height, width
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except (struct.error, IndexError):
        return None
    return None


def is_complete_jpeg(data: bytes) -> bool:
    """Return whether an end-of-image marker follows the pixels of a JPEG. One inside a thumbnail does not count."""
    try:
        return any(data.find(b"\xff\xd9", at) >= 0 for marker, at in _jpeg_segments(data) if marker == START_OF_SCAN)
    except (struct.error, IndexError):
        return False


def essential_png(data: bytes) -> bytes:
    """Remove the ancillary parts (chunks) of a PNG: its texts and profiles may unpack to gigabytes.

    Raises:
        ValueError: A critical part is cut off, or its checksum does not match.
    """
    at, kept = 8, [data[:8]]
    try:
        while True:
            length, kind = struct.unpack_from(">I4s", data, at)
            end = at + 8 + length
            (checksum,) = struct.unpack_from(">I", data, end)
            if not kind[0] & 0x20:  # names of ancillary parts begin with a lower-case letter
                if zlib.crc32(memoryview(data)[at + 4 : end]) != checksum:
                    raise ValueError(f"the checksum of its part {kind.decode('ascii', 'replace')} does not match")
                kept.append(data[at : end + 4])
            if kind == b"IEND":
                return b"".join(kept)
            at = end + 4
    except struct.error:
        raise ValueError("it ends early") from None


def _frame_and_scan(data: bytes) -> tuple[int | None, int | None]:
    """Return the positions of the frame header of a JPEG and of the first scan behind it; None if there is none."""
    frame = None
    try:
        for marker, at in _jpeg_segments(data):
            if marker in JPEG_FRAMES and frame is None:
                frame = at
            elif marker == START_OF_SCAN and at + 4 < len(data):
                return frame, at
    except (struct.error, IndexError):
        pass
    return frame, None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, at in _jpeg_segments(data):
        if marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (marker, position) of the segments in front of the pixels of a JPEG; the last one starts a scan."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        if data[at] != 0xFF:
            return
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        yield marker, at
        if marker == START_OF_SCAN:
            return
        bare = marker == 0x01 or 0xD0 <= marker <= 0xD8  # markers without a body
        at += 2 if bare else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg2000_size(data: bytes, at: int) -> tuple[int, int]:
    right, bottom, left, top = struct.unpack_from(">IIII", data, at + 4)
    return bottom - top, right - left


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
        return height + 1, width + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return height & 0x3FFF, width & 0x3FFF
    return None
