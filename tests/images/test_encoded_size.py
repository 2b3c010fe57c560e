"""Headers of pictures that Pillow and imagecodecs wrote."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fitcli.images.encoded_size import (
    MAX_SCANS,
    MAX_SEGMENTS,
    PREFIX_BYTES,
    check_scans,
    encoded_size,
    essential_png,
    is_complete_jpeg,
    jpeg_frame,
    read_jpeg_frame,
)

NOISE = np.random.default_rng(0).integers(0, 256, (37, 61, 3), np.uint8)


def saved(kind: str, mode: str = "RGB", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).convert(mode).save(file, kind, **options)
    return file.getvalue()


PICTURES = {
    "jpeg": saved("JPEG"),
    "progressive jpeg": saved("JPEG", progressive=True),
    "grey jpeg": saved("JPEG", "L"),
    "jpeg with exif": saved("JPEG", exif=bytes(60_000)),
    "lossless jpeg": imagecodecs.jpeg8_encode(NOISE, lossless=True),
    "jpeg 2000 codestream": imagecodecs.jpeg2k_encode(NOISE, codecformat="j2k"),
    "jpeg 2000 file": saved("JPEG2000"),
    "png": saved("PNG"),
    "webp": saved("WEBP"),
    "lossless webp": saved("WEBP", lossless=True),
    "extended webp": saved("WEBP", exif=b"Exif\0\0" + bytes(20)),
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES)
def test_size(data: bytes) -> None:
    assert encoded_size(data) == (37, 61)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"GIF89a" + bytes(50), bytes(100), PICTURES["png"][:20]])
def test_no_size(data: bytes) -> None:
    assert encoded_size(data) is None


@pytest.mark.parametrize(
    ("options", "coefficients"),
    [({"subsampling": "4:4:4"}, 3), ({"subsampling": "4:2:2"}, 2), ({"subsampling": "4:2:0"}, 1.5)],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_frame(options: dict[str, object], coefficients: float, progressive: bool) -> None:
    frame = jpeg_frame(saved("JPEG", progressive=progressive, **options))
    assert frame is not None
    assert (frame.height, frame.width, frame.bits, frame.components) == (37, 61, 8, 3)
    assert (frame.coefficients, frame.progressive) == (coefficients, progressive)


def test_frame_beyond_the_given_bytes() -> None:
    data = PICTURES["jpeg with exif"]
    assert jpeg_frame(data[:50_000]) is None
    assert jpeg_frame(data[:62_000]) is not None


def test_frame_behind_many_segments(tmp_path: Path) -> None:
    segments = b"\xff\xe1\xff\xff" + bytes(65_533)
    data = PICTURES["jpeg"]
    (tmp_path / "image").write_bytes(data[:2] + 3 * segments + b"\xff" + data[2:])
    assert (tmp_path / "image").stat().st_size > PREFIX_BYTES[0]
    assert read_jpeg_frame(tmp_path / "image") == jpeg_frame(data)
    (tmp_path / "image").write_bytes(data[:2] + segments)
    with pytest.raises(ValueError, match="no frame header"):
        read_jpeg_frame(tmp_path / "image")


@pytest.mark.parametrize("name", ["jpeg", "progressive jpeg", "grey jpeg"])
def test_end_of_a_jpeg(name: str) -> None:
    data = PICTURES[name]
    assert is_complete_jpeg(data)
    assert is_complete_jpeg(data + b"something behind it")
    for keep in (0, 1, 2, 100, len(data) // 2, len(data) - 2):
        assert not is_complete_jpeg(data[:keep])


def parts(data: bytes) -> list[bytes]:
    """Return the names of the parts of a PNG."""
    names, at = [], 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        names.append(data[at + 4 : at + 8])
        at += 12 + length
    return names


def test_a_png_without_its_texts_has_the_same_pixels() -> None:
    info = PngInfo()
    info.add_text("Comment", "x" * 5000, zip=True)
    data = saved("PNG", pnginfo=info, icc_profile=bytes(3000), dpi=(72, 72))
    assert {b"zTXt", b"iCCP", b"pHYs"} <= set(parts(data))
    bare = essential_png(data)
    assert set(parts(bare)) == {b"IHDR", b"IDAT", b"IEND"}
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(bare))), NOISE)


def test_damage_of_a_png() -> None:
    data = PICTURES["png"]
    at = data.index(b"IDAT") + 50
    with pytest.raises(ValueError, match="checksum of its part IDAT"):
        essential_png(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(ValueError, match="ends early"):
        essential_png(data[:-20])
    text = b"tEXtComment\0hello"
    broken = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text) ^ 1)
    assert essential_png(data[:33] + broken + data[33:]) == data, "a damaged text is harmless"


def test_pictures_in_several_scans() -> None:
    """A decoder keeps all coefficients if the first scan lacks components, progressive or not."""
    for name, several in (("jpeg", False), ("grey jpeg", False), ("progressive jpeg", True)):
        frame = jpeg_frame(PICTURES[name])
        assert frame is not None
        assert (frame.progressive, frame.scanned) == (several, True)
    data = bytearray(PICTURES["jpeg"])
    data[data.index(b"\xff\xda") + 4] = 1
    frame = jpeg_frame(bytes(data))
    assert frame is not None
    assert frame.progressive


def test_scans_that_take_too_long() -> None:
    data = PICTURES["progressive jpeg"]
    frame = jpeg_frame(data)
    assert frame is not None
    check_scans(data, frame)
    with pytest.raises(ValueError, match="too many to decode"):
        check_scans(data + b"\xff\xda" * MAX_SCANS, frame)
    large = dataclasses.replace(frame, height=60_000, width=60_000)
    with pytest.raises(ValueError, match="too many to decode"):
        check_scans(data, large)


@pytest.mark.parametrize("padding", [b"\xff", b"\xff\xfe\0\2"])
def test_segments_without_end(padding: bytes) -> None:
    data = PICTURES["jpeg"]
    assert jpeg_frame(data[:2] + padding * 1000 + data[2:]) == jpeg_frame(data)
    forged = data[:2] + padding * (MAX_SEGMENTS + 1) + data[2:]
    assert jpeg_frame(forged) is None
    assert encoded_size(forged) is None
    assert not is_complete_jpeg(forged)
