"""Reads JPEG 2000: the samples that the file holds, with their own depth and sign.

imagecodecs (OpenJPEG) decodes. A codestream that is cut into tiles is read tile by tile: the parts of one tile, behind
a header that describes this tile alone, are a codestream of their own. Other files are decoded whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.byte_source import SourceFile
from fitcli.images.chunks import MAX_CHUNK_BYTES, ChunkGrid, ChunkKey
from fitcli.images.colors import Conversion, cmyk_to_rgb, ycbcr_to_rgb
from fitcli.images.jpeg2000 import BOXES, START, read_codestream
from fitcli.images.limited_decoding import MEMORY_BYTES, SECONDS, decode_limited

MAX_BOXES, MAX_MARKERS, MAX_HEADER_BYTES, MAX_PARTS = 1 << 10, 1 << 15, 16 << 20, 1 << 17
"""Largest plausible number of boxes, and of markers and bytes in front of the first tile, and of parts of tiles."""

MAX_TILES = 65_535
"""Largest number of tiles in the standard."""

END, TILE_PART = b"\xff\xd9", b"\xff\x90"
"""Markers of the end, and of a part of a tile."""

PACKED_HEADERS = b"\xff\x60"
"""Marker (PPM) of headers of all tiles in front of the first: such tiles are no codestreams of their own."""

LISTS_AND_TEXTS = (b"\xff\x55", b"\xff\x57", b"\xff\x64")
"""Markers (TLM, PLM, COM) of lists of all tiles and of texts, which a tile does without."""

JP2_STARTS = (b"\0\0\0\x0cjP  \r\n\x87\n", START)
"""First bytes of a JP2 file, and of a bare codestream."""

COLOR_SPACES = {12: "CMYK", 16: "RGB", 17: "grey", 18: "YCbCr"}
"""Enumerated colour spaces of a JP2 file (ISO/IEC 15444-1, table I.10; 15444-2, table M.25)."""

SAMPLE_BYTES = 5.6
"""Bytes per sample that decoding takes beside the pixels: OpenJPEG has 32 bits for each, and code blocks."""

OVERHEAD_BYTES, TILE_OVERHEAD_BYTES = 1 << 28, 32 << 20
"""Memory that the decoder may take beside its pixels, for parts that a header names: of a picture, and of a tile."""

SMALL_SAMPLES = 1 << 22
"""Pictures of up to this many samples are decoded in this process, larger ones in another, under limits."""

SAMPLE_SECONDS = 4e-7
"""CPU time per sample that another process may take."""


@dataclass(frozen=True, slots=True)
class Jp2Header:
    """What the boxes and the size of a codestream say.

    Attributes:
        start: Position of the codestream in bytes.
        right, bottom, left, top: Edges of the picture in its reference grid.
        tile: (height, width) of a tile.
        origin: (row, column) of the upper left corner of the first tile in the reference grid.
        bits: Number of bits per sample, per component.
        signed: Whether samples have a sign, per component.
        steps: (down, across) distance of samples in the reference grid, per component.
        space: "RGB", "grey", "YCbCr", "CMYK"; "" if unknown.
        palette: Whether samples are indices of a palette.
    """

    start: int
    right: int
    bottom: int
    left: int
    top: int
    tile: tuple[int, int]
    origin: tuple[int, int]
    bits: tuple[int, ...]
    signed: tuple[bool, ...]
    steps: tuple[tuple[int, int], ...]
    space: str = ""
    palette: bool = False

    @property
    def full(self) -> bool:
        """Whether all components have a sample per pixel."""
        return set(self.steps) == {(1, 1)}

    def dtype(self) -> np.dtype[np.generic]:
        """Return the dtype that holds the samples.

        Raises:
            ValueError: Components differ in sign, or samples have more than 32 bits.
        """
        most = max(self.bits)
        if len(set(self.signed)) > 1 or most > 32:
            raise ValueError("its bands differ in sign, or have more than 32 bits")
        size = 1 if most <= 8 else 2 if most <= 16 else 4
        return np.dtype(f"{'i' if self.signed[0] else 'u'}{size}")


def read_jp2_header(source: SourceFile) -> Jp2Header:
    """Read the boxes of a JP2 file, or the size of a bare codestream.

    Raises:
        ValueError: The header is cut off or invalid.
    """
    try:
        start, space, palette = _boxes(source)
        head = _at_most(source, start, 42)
        if head[:4] != START:
            raise ValueError("it is not a JPEG 2000 codestream")
        right, bottom, left, top, wide, tall, tile_left, tile_top, count = struct.unpack_from(">IIIIIIIIH", head, 8)
        if not 1 <= count <= 16_384 or right <= left or bottom <= top or min(wide, tall) < 1:
            raise ValueError("its header is invalid")
        samples = np.frombuffer(_at_most(source, start + 42, 3 * count), np.uint8)
        if len(samples) != 3 * count or not samples.reshape(count, 3)[:, 1:].all():
            raise ValueError("its header is invalid")
    except struct.error:
        raise ValueError("its header is cut off") from None
    if tile_left > left or tile_top > top or tile_left + wide <= left or tile_top + tall <= top:
        raise ValueError("its header is invalid")
    if -(-(right - tile_left) // wide) * -(-(bottom - tile_top) // tall) > MAX_TILES:
        raise ValueError("its header is invalid")
    depths, across, down = (samples[first::3].tolist() for first in range(3))
    return Jp2Header(
        start,
        *(right, bottom, left, top),
        tile=(tall, wide),
        origin=(tile_top, tile_left),
        bits=tuple(depth % 128 + 1 for depth in depths),
        signed=tuple(depth >= 128 for depth in depths),
        steps=tuple(zip(down, across, strict=True)),
        space=space,
        palette=palette,
    )


def colors_of(header: Jp2Header) -> tuple[Conversion | None, int, bool]:
    """Return (conversion of samples, or None; channels after it; whether the first three are red, green and blue)."""
    count, eight = len(header.bits), max(header.bits) == 8 and not any(header.signed)
    if header.space == "CMYK" and count == 4 and max(header.bits) in (8, 16):
        return cmyk_to_rgb, 3, True
    if header.space == "YCbCr" and count == 3 and header.full and eight:
        return ycbcr_to_rgb, 3, True
    return None, count, (count == 3 and eight) or (count >= 3 and header.space != "grey")


class Jp2Grid(ChunkGrid):
    """A picture as a grid of its tiles; of a single chunk if it has one tile, or tiles that depend on each other.

    Attributes:
        decoding_bytes: Bytes that decoding takes in all if the picture can only be decoded whole; otherwise 0.

    Raises:
        ValueError: The header is invalid, or its components cannot be one array.
    """

    def __init__(self, path: Path, header: Jp2Header) -> None:
        self._source, self._header = SourceFile(path), header
        self.height, self.width = header.bottom - header.top, header.right - header.left
        self.channels = self.plane_channels = len(header.bits)
        self.dtype = header.dtype()
        if not header.full and not (self.channels == 3 and max(header.bits) == 8):
            raise ValueError("its bands differ in size, which fit does not read")
        self._main, first = b"", 0
        self._parts: dict[int, list[tuple[int, int]]] = {}
        self.chunk = self.height, self.width
        regular = (header.top, header.left) == header.origin and header.full
        if regular and (header.tile[0] < self.height or header.tile[1] < self.width):
            self._main, first = _main_header(self._source, header.start)
        if self._main:
            self.chunk = min(header.tile[0], self.height), min(header.tile[1], self.width)
            self._columns = -(-self.width // header.tile[1])
            self._parts = _tile_parts(self._source, first)
        # Decoding takes many times the pixels, by which the number of chunks at a time is chosen.
        self.sequential = self._cost(self.chunk) > TILE_OVERHEAD_BYTES
        self.decoding_bytes = 0 if self._main else self._source.size + self._cost(self.chunk)

    @property
    def is_affordable(self) -> bool:
        """Whether a tile is small enough to be decoded."""
        return not self._main or (self.chunk_bytes <= MAX_CHUNK_BYTES and self._cost(self.chunk) <= 4 * MAX_CHUNK_BYTES)

    def decode(self, key: ChunkKey) -> Pixels:
        if not self._main:
            # Without its boxes: of those, imagecodecs would convert the colours of some files and not of others.
            data = self._source.read(self._header.start, self._source.size - self._header.start)
            shape = self.chunk
        else:
            data = self._tile(key[1], key[2])
            shape = (
                min(self.chunk[0], self.height - key[1] * self.chunk[0]),
                min(self.chunk[1], self.width - key[2] * self.chunk[1]),
            )
        overhead = read_codestream(data).overhead_bytes
        pixel_bytes = shape[0] * shape[1] * self.channels * self.dtype.itemsize
        if overhead > (TILE_OVERHEAD_BYTES if self._main else OVERHEAD_BYTES) + pixel_bytes:
            raise ValueError(f"its header makes the decoder take {overhead >> 20} MiB beside the pixels")
        samples = shape[0] * shape[1] * self.channels
        if samples <= SMALL_SAMPLES:
            pixels: Pixels = imagecodecs.jpeg2k_decode(data, numthreads=1)
        else:
            memory = MEMORY_BYTES + self._cost(shape) + overhead
            seconds = SECONDS + round(SAMPLE_SECONDS * samples)
            pixels = decode_limited("jpeg2000", data, pixel_bytes, memory=memory, seconds=seconds)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape != (*shape, self.channels):
            raise ValueError(f"its pixels are {pixels.shape}, but its header claims {(*shape, self.channels)}")
        return pixels.astype(self.dtype, copy=False)

    def _cost(self, shape: tuple[int, int]) -> int:
        return int(shape[0] * shape[1] * self.channels * (SAMPLE_BYTES + self.dtype.itemsize))

    def _tile(self, row: int, column: int) -> bytes:
        """Return the codestream of one tile. It keeps its place in the reference grid, which its wavelets depend on."""
        header, number = self._header, row * self._columns + column
        top, left = header.origin[0] + row * header.tile[0], header.origin[1] + column * header.tile[1]
        bottom, right = min(top + header.tile[0], header.bottom), min(left + header.tile[1], header.right)
        parts = self._parts.get(number)
        if not parts:
            raise ValueError("it is not in the file")
        edges = struct.pack(">IIIIIIII", right, bottom, left, top, header.tile[1], header.tile[0], left, top)
        # The size is the first marker: its mark, length and capabilities take 6 bytes.
        pieces = [START[:2], self._main[:6], edges, self._main[38:]]
        for offset, length in parts:
            part = self._source.read(offset, length)
            pieces += [part[:4], bytes(2), struct.pack(">I", length), part[10:]]
        return b"".join((*pieces, END))


def _boxes(source: SourceFile) -> tuple[int, str, bool]:
    """Return the position of the codestream, its colour space, and whether it has a palette."""
    if _at_most(source, 4, 4) != BOXES:
        return 0, "", False
    space, palette = "", False
    for kind, start, end in _children(source, 0, source.size):
        if kind == b"jp2h":
            for inner, at, _ in _children(source, start, end):
                palette = palette or inner == b"pclr"
                if inner == b"colr" and not space:
                    method, number = struct.unpack(">BxxI", _at_most(source, at, 7))
                    space = COLOR_SPACES.get(number, "") if method == 1 else ""
        elif kind == b"jp2c":
            return start, space, palette
    raise ValueError("it holds no codestream")


def _children(source: SourceFile, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start of its content, end) of the boxes between two positions."""
    for _ in range(MAX_BOXES):
        if at + 8 > end:
            return
        length, kind = struct.unpack(">I4s", _at_most(source, at, 8))
        head = 8
        if length == 1:
            (length,), head = struct.unpack(">Q", _at_most(source, at + 8, 8)), 16
        elif length == 0:  # to the end
            length = end - at
        if length < head:
            raise ValueError("its header is invalid")
        yield kind, at + head, min(at + length, end)
        at += length


def _main_header(source: SourceFile, start: int) -> tuple[bytes, int]:
    """Return the markers of a codestream from that of its size up to its first tile, and the position of this tile.

    Lists and texts are left out. There are no markers if tiles depend on each other.
    """
    at, kept = start + 2, list[bytes]()
    for _ in range(MAX_MARKERS):
        if at - start > MAX_HEADER_BYTES:
            break
        mark = source.read(at, 2)
        if mark == TILE_PART:
            return b"".join(kept), at
        if mark == PACKED_HEADERS:
            return b"", at
        (length,) = struct.unpack(">H", source.read(at + 2, 2))
        if mark[0] != 0xFF or length < 2:
            raise ValueError("its header is invalid")
        if mark not in LISTS_AND_TEXTS:
            kept.append(source.read(at, 2 + length))
        at += 2 + length
    raise ValueError("its header is invalid")


def _tile_parts(source: SourceFile, at: int) -> dict[int, list[tuple[int, int]]]:
    """Return the (offset, length) of the parts of each tile. `at` is the position of the first."""
    parts: dict[int, list[tuple[int, int]]] = {}
    for _ in range(MAX_PARTS):
        if source.size - at < 12:
            return parts
        head = source.read(at, 12)
        if head[:2] != TILE_PART:
            return parts
        number, length = struct.unpack_from(">HI", head, 4)
        length = length or source.size - at - len(END)  # the last part extends to the end
        if length < 14:
            raise ValueError("its header is invalid")
        missing = at + length - source.size
        if missing > 0:
            raise ImageError(source.path, f"ends {missing} bytes before its pixels do; copy or export it again")
        parts.setdefault(number, []).append((at, length))
        at += length
    raise ValueError(f"it has more than {MAX_PARTS:,} parts of tiles")


def _at_most(source: SourceFile, at: int, count: int) -> bytes:
    return source.read(at, max(min(count, source.size - at), 0))
