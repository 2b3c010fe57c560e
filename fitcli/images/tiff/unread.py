"""Names the forms of TIFF that no decoder here reads, before anything is decoded: such files are not damaged."""

from __future__ import annotations

from typing import Any

from fitcli.errors import ImageError
from fitcli.images.byte_source import SourceFile
from fitcli.images.tiff.compressions import CODECS

LZW, OLD_JPEG, APERIO_YCBCR = 5, 6, 33003
"""Values of the Compression tag."""

SUBSAMPLED = frozenset({6, 7, 33007, 34892, APERIO_YCBCR})
"""Values of the Compression tag whose decoders read colours of a lower resolution than the brightness."""

JPEG_START = b"\xff\xd8"
"""First bytes of a whole JPEG."""


def check_form(keyframe: Any, source: SourceFile) -> None:
    """Look at the tags and the first bytes of a page.

    Raises:
        ImageError: Its form is not read.
    """
    form = _form(int(keyframe.compression), keyframe, source)
    if form:
        name, stem = source.path.name, source.path.stem
        raise ImageError(
            source.path, f"{form}, which fit does not read; convert it with `gdal_translate {name} {stem}-new.tif`"
        )


def _form(compression: int, keyframe: Any, source: SourceFile) -> str:
    """Return what a page is; "" if it is read."""
    if compression not in CODECS:
        return f"is compressed with {getattr(keyframe.compression, 'name', compression)}"
    if keyframe.is_subsampled and compression not in SUBSAMPLED:
        return "stores YCbCr colours of a lower resolution without JPEG"
    if compression not in (OLD_JPEG, LZW):
        return ""
    start = _start(keyframe, source)
    if compression == OLD_JPEG:
        return "is compressed with old-style JPEG" if start and start != JPEG_START else ""
    # LZW begins with the code 256. Before TIFF 5, codes began with the lowest bit.
    old = len(start) == 2 and start[0] == 0 and start[1] & 1 and int(keyframe.fillorder) == 1
    return "is compressed with old-style LZW" if old else ""


def _start(keyframe: Any, source: SourceFile) -> bytes:
    """Return the first two bytes of the first chunk that is stored; b"" if there is none in the file."""
    for offset, count in zip(keyframe.dataoffsets, keyframe.databytecounts, strict=False):
        if offset and count:
            return source.read(offset, 2) if 0 < offset <= source.size - 2 else b""
    return b""
