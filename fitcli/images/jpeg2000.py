"""Parses the headers of a JPEG 2000 codestream (ISO/IEC 15444-1, annex A), to bound the memory of its decoder.

A header of a few bytes can cut a picture into millions of tiles, precincts, code blocks or layers. OpenJPEG allocates
memory for each of them before it reads the pixels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

START = b"\xff\x4f\xff\x51"
"""First bytes of a codestream: its start, and the marker of the size."""

BOXES = b"jP  "
"""Type of the first box of a JP2 file, which holds a codestream in a box of type jp2c."""

TILE_PART, DATA, END = 0x90, 0x93, 0xD9
"""Second bytes of the markers in front of a part of a tile and of its pixels, and at the end."""

STYLE, COMPONENT_STYLE = 0x52, 0x53
"""Second bytes of the markers of the coding style (COD), and of that of one component (COC)."""

MAX_MARKERS, MAX_BOXES = 1 << 17, 1 << 10
"""Largest plausible number of markers in front of pixels, and of boxes in a file."""

TILE_BYTES, TILE_COMPONENT_BYTES, PART_BYTES = 6000, 1200, 512
"""Memory of OpenJPEG 2.5 per tile, per component of a tile, and per precinct or code block of one tile; rounded up."""


@dataclass(frozen=True, slots=True)
class Codestream:
    """The header of a codestream.

    Attributes:
        height, width: Size in pixels.
        components: Samples per pixel.
        bits: Largest number of bits per sample.
        overhead_bytes: Memory of the decoder beside samples: for tiles, precincts, code blocks and layers.
        full: Whether every component has a sample per pixel.
    """

    height: int
    width: int
    components: int
    bits: int
    overhead_bytes: int
    full: bool


@dataclass(frozen=True, slots=True)
class _Style:
    """How a tile is coded.

    Attributes:
        layers: Quality layers; 0 if the marker does not name them.
        block: (height, width) of code blocks, as binary logarithms.
        precincts: (height, width) of precincts, as binary logarithms, smallest resolution first.
    """

    layers: int
    block: tuple[int, int]
    precincts: tuple[tuple[int, int], ...]


def read_codestream(data: bytes) -> Codestream:
    """Parse the header of a codestream, or of a JP2 file that holds one.

    Raises:
        ValueError: The header is cut off or invalid.
    """
    try:
        at = _start(data)
        _, right, bottom, left, top, wide, tall, tile_left, tile_top, components = struct.unpack_from(
            ">HIIIIIIIIH", data, at + 6
        )
        samples = struct.unpack_from(f">{3 * components}B", data, at + 42)
        styles = list(_styles(data, at + 2, components))
    except (struct.error, IndexError):
        raise ValueError("its header is cut off") from None
    height, width = bottom - top, right - left
    if min(height, width, wide, tall, components) < 1 or tile_left > left or tile_top > top or not styles:
        raise ValueError("its header is invalid")
    tiles = -(-(right - tile_left) // wide) * -(-(bottom - tile_top) // tall)
    size = min(tall, height), min(wide, width)
    layers = max(style.layers for style in styles)
    in_tile = max(_style_bytes(style, size, components, layers) for style in styles)
    overhead = tiles * (TILE_BYTES + components * TILE_COMPONENT_BYTES) + in_tile
    full = set(samples[1::3]) == set(samples[2::3]) == {1}
    return Codestream(height, width, components, max(samples[::3]) % 128 + 1, overhead, full)


def _start(data: bytes) -> int:
    """Return the position of the codestream."""
    if data[4:8] == BOXES:
        at = 0
        for _ in range(MAX_BOXES):
            length, kind = struct.unpack_from(">I4s", data, at)
            head = 8
            if length == 1:
                (length,), head = struct.unpack_from(">Q", data, at + 8), 16
            if kind == b"jp2c":
                at += head
                break
            if length < head:
                raise ValueError("it holds no codestream")
            at += length
    else:
        at = 0
    if data[at : at + 4] != START:
        raise ValueError("it is not a JPEG 2000 codestream")
    return at


def _styles(data: bytes, at: int, components: int) -> Iterator[_Style]:
    """Yield the coding styles of the picture, its tiles and components. `at` is the position of the first marker."""
    part = 0
    for _ in range(MAX_MARKERS):
        if at + 2 > len(data):  # the rest is cut off, which the decoder reports
            return
        mark, marker = data[at], data[at + 1]
        if mark != 0xFF:
            raise ValueError("its header is invalid")
        if marker == END:
            return
        if marker == DATA:
            if not part:  # this part extends to the end
                return
            at, part = part, 0
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == TILE_PART:
            (size,) = struct.unpack_from(">I", data, at + 6)
            part = at + size if size else 0
            if size and size < 14:
                raise ValueError("its header is invalid")
        elif marker == STYLE:
            flags, layers, levels, width, height = struct.unpack_from(">BxHxBBB", data, at + 4)
            yield _style(data, at + 14, flags, layers, levels, (height, width))
        elif marker == COMPONENT_STYLE:
            place = at + 4 + (1 if components < 257 else 2)
            flags, levels, width, height = struct.unpack_from(">BBBB", data, place)
            yield _style(data, place + 6, flags, 0, levels, (height, width))
        at += 2 + length
    raise ValueError(f"it has more than {MAX_MARKERS:,} markers")


def _style(data: bytes, at: int, flags: int, layers: int, levels: int, block: tuple[int, int]) -> _Style:
    if levels > 32 or max(block) > 8:
        raise ValueError("its header is invalid")
    sizes = data[at : at + levels + 1] if flags & 1 else b"\xff" * (levels + 1)
    if len(sizes) <= levels:
        raise ValueError("its header is cut off")
    return _Style(layers, (block[0] + 2, block[1] + 2), tuple((size >> 4, size & 15) for size in sizes))


def _style_bytes(style: _Style, size: tuple[int, int], components: int, layers: int) -> int:
    """Return the memory for the precincts, code blocks and layers of one tile of (height, width)."""
    parts, most = 0, 0
    levels = len(style.precincts) - 1
    for resolution, precinct in enumerate(style.precincts):
        # At most one part more along each axis, where the tile does not begin at a multiple of its size.
        sides = [-(-side // 2 ** (levels - resolution)) for side in size]
        precincts = _parts(sides, precinct)
        # The three bands of a resolution have half its side, and so have precincts in them.
        halved = 1 if resolution else 0
        block = [max(min(cut, whole - halved), 0) for cut, whole in zip(style.block, precinct, strict=True)]
        blocks = _parts([-(-side // 2**halved) for side in sides], block)
        bands = 3 if resolution else 1
        parts += bands * (precincts + max(blocks, precincts))
        most = max(most, precincts)
    included = 2 * (layers + 1) * (levels + 1) * most
    return components * (parts * PART_BYTES + included)


def _parts(sides: list[int], logarithms: tuple[int, int] | list[int]) -> int:
    return ((sides[0] - 1 >> logarithms[0]) + 2) * ((sides[1] - 1 >> logarithms[1]) + 2)
