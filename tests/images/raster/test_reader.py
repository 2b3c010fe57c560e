"""PNG, JPEG and other files without chunks are read as Pillow reads them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support.reader_contract import Case, ReaderContract, assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image


def picture(channels: int = 3, dtype: str = "u1") -> Pixels:
    y, x = np.mgrid[0:103, 0:157]
    waves = np.stack([np.sin(x / (7 + c)) * np.cos(y / (9 - c)) for c in range(channels)], -1)
    return ((waves + 1) / 2 * np.iinfo(dtype).max).astype(dtype)


def saved(mode: str, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(file, format, **options)
    return file.getvalue()


def by_pillow(data: bytes, mode: str | None = None) -> Pixels:
    image = Image.open(io.BytesIO(data))
    pixels = np.asarray(image.convert(mode) if mode else image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


FILES: dict[str, Callable[[], tuple[bytes, Pixels]]] = {}


def like_pillow(name: str, data: bytes, mode: str | None = None) -> None:
    FILES[name] = lambda: (data, by_pillow(data, mode))


for _mode in ("1", "L", "LA", "RGB", "RGBA"):
    like_pillow(f"png_{_mode}", saved(_mode, "PNG"))
like_pillow("png_palette", saved("P", "PNG"), "RGB")
like_pillow("png_palette_with_transparency", saved("P", "PNG", transparency=3), "RGBA")
like_pillow("png_transparent_color", saved("RGB", "PNG", transparency=(1, 2, 3)), "RGB")
like_pillow("jpeg_rgb", saved("RGB", "JPEG", quality=90))
like_pillow("jpeg_444", saved("RGB", "JPEG", subsampling=0))
like_pillow("jpeg_progressive", saved("RGB", "JPEG", progressive=True))
like_pillow("jpeg_grey", saved("L", "JPEG"))
like_pillow("jpeg_cmyk", saved("CMYK", "JPEG"), "RGB")
like_pillow("webp", saved("RGB", "WEBP", lossless=True))
like_pillow("bmp", saved("RGB", "BMP"))
like_pillow("gif", saved("P", "GIF"), "RGB")
like_pillow("ppm", saved("RGB", "PPM"))
like_pillow("jpeg2000", saved("RGB", "JPEG2000"))
for _channels in (1, 2, 3, 4):
    FILES[f"png_16_bit_{_channels}"] = lambda channels=_channels: (
        imagecodecs.png_encode(picture(channels, "u2").squeeze()),
        picture(channels, "u2"),
    )


@pytest.fixture(scope="module", params=FILES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    data, pixels = FILES[request.param]()
    path = tmp_path_factory.mktemp("raster") / "image"
    path.write_bytes(data)
    return Case(path, [pixels])


class TestRaster(ReaderContract):
    pass


def test_info(tmp_path: Path):
    path = tmp_path / "image"
    path.write_bytes(saved("RGB", "JPEG"))
    with open_image(path) as reader:
        assert (reader.info.format, reader.info.chunk, reader.info.color) == ("JPEG", None, True)
    path.write_bytes(saved("L", "PNG"))
    with open_image(path) as reader:
        assert (reader.info.format, reader.info.chunk, reader.info.color) == ("PNG", None, False)


def test_exif_orientation_is_ignored(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "image").write_bytes(saved("RGB", "JPEG", exif=exif))
    with open_image(tmp_path / "image") as reader:
        assert reader.info.size == (103, 157)


def test_animations_are_refused(tmp_path: Path):
    frames = [Image.fromarray(picture()), Image.fromarray(picture()[::-1])]
    frames[0].save(tmp_path / "image", "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="2 frames"):
        open_image(tmp_path / "image")


@pytest.mark.parametrize(
    "name", ["png_RGB", "png_16_bit_3", "png_palette", "jpeg_rgb", "jpeg_progressive", "jpeg_cmyk"]
)
@pytest.mark.parametrize("keep", [0.002, 0.1, 0.5, 0.98])
def test_truncated_file_is_an_error(tmp_path: Path, name: str, keep: float):
    data, _ = FILES[name]()
    (tmp_path / "image").write_bytes(data[: max(int(len(data) * keep), 10)])
    with pytest.raises(ImageError), open_image(tmp_path / "image") as reader:
        read_all(reader)


def test_thumbnail_does_not_hide_that_a_jpeg_is_cut_off(tmp_path: Path):
    thumbnail = saved("RGB", "JPEG", quality=20)
    exif = b"Exif\0\0" + thumbnail
    data = saved("RGB", "JPEG")
    data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    path = tmp_path / "image"
    path.write_bytes(data)
    with open_image(path) as reader:
        assert_equal(read_all(reader), by_pillow(saved("RGB", "JPEG")))
    path.write_bytes(data[:-500])
    with open_image(path) as reader, pytest.raises(ImageError, match="ends early"):
        read_all(reader)


def claiming(data: bytes, height: int, width: int) -> bytes:
    """Return a JPEG with another size in its header."""
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


@pytest.mark.parametrize(
    ("name", "side", "refused"),
    [("jpeg_rgb", 22_000, False), ("jpeg_rgb", 23_000, True), ("jpeg_progressive", 15_000, False),
     ("jpeg_progressive", 16_000, True), ("jpeg_grey", 38_000, False), ("jpeg_grey", 39_000, True),
     ("jpeg_cmyk", 10_000, False), ("jpeg_cmyk", 14_000, True)],
)  # fmt: skip
def test_pictures_that_take_too_much_memory_are_refused(tmp_path: Path, name: str, side: int, refused: bool):
    (tmp_path / "image").write_bytes(claiming(FILES[name]()[0], side, side))
    if refused:
        with pytest.raises(ImageError, match=r"vips tiffsave image image\.tif --tile"):
            open_image(tmp_path / "image")
        return
    with open_image(tmp_path / "image") as reader:
        assert reader.info.size == (side, side)
        assert side**2 * reader.info.channels < reader.decoding_bytes < 1.5e9


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (1, 2**31 - 1), (50_000, 50_000)])
def test_huge_pngs_are_refused(tmp_path: Path, size: tuple[int, int]):
    data = b"\x89PNG\r\n\x1a\n"
    header = struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0)
    for chunk in (b"IHDR" + header, b"IDAT" + bytes(100), b"IEND"):
        data += (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ImageError, match="convert it to a tiled TIFF"):
        open_image(tmp_path / "image")


def test_jpegs_of_12_and_16_bits(tmp_path: Path):
    ramp = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
    (tmp_path / "12").write_bytes(imagecodecs.jpeg8_encode(ramp, level=100, bitspersample=12))
    (tmp_path / "16").write_bytes(imagecodecs.jpeg8_encode(ramp * 20, bitspersample=16, lossless=True))
    with open_image(tmp_path / "12") as reader:
        assert reader.info.dtype == np.uint16
        assert np.abs(read_all(reader)[:, :, 0].astype(int) - ramp).max() <= 2
    with open_image(tmp_path / "16") as reader:
        assert_equal(read_all(reader), ramp[:, :, None] * np.uint16(20))


def test_other_programs_are_not_started(tmp_path: Path):
    (tmp_path / "image").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ImageError, match="not an image that fit can read"):
        open_image(tmp_path / "image")
