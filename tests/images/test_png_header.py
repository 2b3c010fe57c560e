"""Headers of PNG files that Pillow and imagecodecs wrote, and forged ones."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fitcli.images import png_header
from fitcli.images.png_header import PngHeader, read_header, unpack, verify_checksum
from tests.images.raster.test_png import file_of, part

NOISE = np.random.default_rng(0).integers(0, 256, (37, 61, 4), np.uint8)


def header_of(data: bytes) -> PngHeader:
    return read_header(io.BytesIO(data))


def saved(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("mode", "bits", "kind"), [("1", 1, 0), ("L", 8, 0), ("RGB", 8, 2), ("LA", 8, 4), ("RGBA", 8, 6), ("I;16", 16, 0)]
)
def test_kinds_of_pixels(mode: str, bits: int, kind: int) -> None:
    grey = Image.fromarray(NOISE[:, :, :2].copy().view(np.uint16)[:, :, 0])
    data = saved(grey if mode == "I;16" else Image.fromarray(NOISE).convert(mode))
    header = header_of(data)
    assert (header.height, header.width, header.bits, header.kind) == (37, 61, bits, kind)
    assert not header.interlaced
    assert (header.palette, header.alpha) == (b"", None)
    assert data[header.start + 4 : header.start + 8] == b"IDAT"


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_bytes_of_rows_and_pixels(samples: int, dtype: str) -> None:
    header = header_of(imagecodecs.png_encode(NOISE[:, :, :samples].astype(dtype).squeeze()))
    itemsize = np.dtype(dtype).itemsize
    assert (header.row_bytes, header.pixel_bytes) == (61 * samples * itemsize, samples * itemsize)


@pytest.mark.parametrize(("bits", "expected"), [(1, 8), (2, 16), (4, 31), (8, 61)])
def test_bytes_of_packed_rows(bits: int, expected: int) -> None:
    header = header_of(file_of((37, 61), bits, 0, b""))
    assert (header.row_bytes, header.pixel_bytes) == (expected, 1)


def test_palette() -> None:
    image = Image.fromarray(NOISE[:, :, :3]).quantize(50)
    header = header_of(saved(image, transparency=bytes(range(9))))
    assert header.palette == bytes(image.getpalette() or [])[: len(header.palette)]
    assert len(header.palette) == 150
    assert header.alpha is not None
    assert header.alpha[:9] == bytes(range(9))


def test_interlaced() -> None:
    assert header_of(file_of((5, 5), 8, 0, b"", interlaced=True)).interlaced


GOOD = file_of((5, 7), 8, 2, bytes(200))


@pytest.mark.parametrize("keep", [0, 8, 20, 33, 60, len(GOOD) - 12, len(GOOD) - 1])
def test_files_that_are_cut_off(keep: int) -> None:
    with pytest.raises(ValueError, match="it ends early"):
        header_of(GOOD[:keep])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (GOOD[:20] + b"\x01" + GOOD[21:], "checksum of its part IHDR"),
        (GOOD[:8] + part(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, 2, 0, 0, 2)) + GOOD[33:], "header is invalid"),
        (GOOD[:8] + part(b"IHDR", struct.pack(">IIBBBBB", 7, 5, 8, 2, 1, 0, 0)) + GOOD[33:], "header is invalid"),
        (GOOD[:33] + part(b"IEND", b""), "holds no pixels"),
        (file_of((5, 7), 8, 3, b""), "palette is invalid"),
        (file_of((5, 7), 8, 3, b"", (b"PLTE", bytes(4))), "palette is invalid"),
    ],
)
def test_forged_files(data: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        header_of(data)


def test_parts_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_header, "MAX_PARTS", 5)
    with pytest.raises(ValueError, match="more than 5 parts"):
        header_of(GOOD[:33] + 9 * part(b"tEXt", b"a\0b") + GOOD[33:])


def test_checksums_and_short_data() -> None:
    verify_checksum(b"IDAT", 0xCBF43926, (0xCBF43926).to_bytes(4, "big"))
    with pytest.raises(ValueError, match="checksum of its part IDAT"):
        verify_checksum(b"IDAT", zlib.crc32(b"a"), zlib.crc32(b"b").to_bytes(4, "big"))
    assert unpack(">H", b"\1\2") == (258,)
    with pytest.raises(ValueError, match="it ends early"):
        unpack(">H", b"\1")
