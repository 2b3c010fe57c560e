"""JPEG 2000: own depth and sign, windows of tiles, bounded memory; compared with the arrays written, and with GDAL."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from support.reader_contract import cut, random_windows

from fitcli.errors import ImageError
from fitcli.images.byte_source import SourceFile
from fitcli.images.open import open_image
from fitcli.images.raster.jp2 import read_jp2_header
from fitcli.images.window import Window


def whole(path: Path) -> Any:
    with open_image(path) as image:
        pixels = image.read(Window(0, 0, *image.info.size))
        assert pixels.dtype == image.info.dtype
        assert pixels.shape == (*image.info.size, image.info.channels)
        return pixels


def scene(dtype: str, bits: int, shape: tuple[int, ...]) -> Any:
    values = np.random.default_rng(0).integers(0, 2**bits, shape)
    return (values - (2 ** (bits - 1) if dtype[0] == "i" else 0)).astype(dtype)


DEPTHS = [("u1", 4), ("u1", 8), ("i1", 8), ("u2", 10), ("u2", 12), ("u2", 15), ("u2", 16), ("i2", 12), ("i2", 16)]


@pytest.mark.walk
@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("dtype", "bits"), DEPTHS)
def test_samples_are_those_of_the_file(tmp_path: Path, dtype: str, bits: int, channels: int, form: str) -> None:
    pixels = scene(dtype, bits, (50, 61, channels))
    options = {"bitspersample": bits, "reversible": True, "level": 0, "mct": False, "codecformat": form}
    data = imagecodecs.jpeg2k_encode(pixels.squeeze(), **options)
    (tmp_path / "x.jp2").write_bytes(data)
    np.testing.assert_array_equal(whole(tmp_path / "x.jp2"), pixels)


def tiled(path: Path, pixels: Any, tile: tuple[int, int], **options: Any) -> Path:
    """Write 8-bit pixels in tiles (width, height) with Pillow."""
    Image.fromarray(pixels).save(path, "JPEG2000", tile_size=tile, irreversible=False, mct=0, **options)
    return path


@pytest.mark.walk
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_resolutions": 3},
        {"precinct_size": (32, 32)},
        {"progression": "RPCL"},
        {"quality_layers": [40, 0]},
        {"comment": "text"},
        {"no_jp2": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("tile", [(64, 64), (100, 37), (400, 50)])
def test_windows_of_tiles_equal_the_whole(tmp_path: Path, tile: tuple[int, int], options: dict[str, Any]) -> None:
    pixels = scene("u1", 8, (210, 333, 3))
    path = tiled(tmp_path / "x.jp2", pixels, tile, **options)
    expected = imagecodecs.jpeg2k_decode(path.read_bytes())
    with open_image(path) as image:
        assert image.info.chunk == (tile[1], min(tile[0], 333))
        assert image.decoding_bytes == 0
        np.testing.assert_array_equal(image.read(Window(0, 0, 210, 333)), expected)
        for window in random_windows(210, 333, count=20):
            np.testing.assert_array_equal(image.read(window), cut(expected, window))


def test_only_the_tiles_of_a_window_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiled(tmp_path / "x.jp2", scene("u1", 8, (256, 256)), (64, 64))
    decode, sizes = imagecodecs.jpeg2k_decode, []

    def counted(data: bytes, **options: Any) -> Any:
        pixels = decode(data, **options)
        sizes.append(pixels.shape)
        return pixels

    monkeypatch.setattr(imagecodecs, "jpeg2k_decode", counted)
    with open_image(path) as image:
        image.read(Window(10, 10, 70, 20))
    assert sizes == [(64, 64)] * 2


def test_a_picture_that_begins_inside_its_first_tile_is_decoded_whole(tmp_path: Path) -> None:
    path = tiled(tmp_path / "x.jp2", scene("u1", 8, (100, 90, 3)), (32, 32), offset=(5, 7), tile_offset=(0, 0))
    with open_image(path) as image:
        assert image.info.size == (100, 90)
        assert image.info.chunk is None
        np.testing.assert_array_equal(image.read(Window(0, 0, 100, 90)), imagecodecs.jpeg2k_decode(path.read_bytes()))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def test_a_palette_becomes_colours(tmp_path: Path) -> None:
    indices, colors = scene("u1", 2, (20, 30)), np.array([[1, 2, 3], [90, 0, 7], [255, 4, 99], [10, 200, 30]], "u1")
    data = imagecodecs.jpeg2k_encode(indices, reversible=True, level=0)
    palette = box(b"pclr", struct.pack(">HB3B", 4, 3, 7, 7, 7) + colors.tobytes())
    palette += box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3)))
    at = data.index(b"jp2h")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    header = data[at + 4 : at - 4 + length].replace(struct.pack(">I", 17), struct.pack(">I", 16))
    (tmp_path / "x.jp2").write_bytes(data[: at - 4] + box(b"jp2h", header + palette) + data[at - 4 + length :])
    np.testing.assert_array_equal(whole(tmp_path / "x.jp2"), colors[indices])


def test_ycbcr_becomes_rgb(tmp_path: Path) -> None:
    pixels = np.asarray(Image.fromarray(scene("u1", 8, (40, 50, 3))).convert("YCbCr"))
    data = imagecodecs.jpeg2k_encode(pixels, reversible=True, level=0, mct=False)
    at = data.index(b"colr") + 4
    assert data[at] == 1
    (tmp_path / "x.jp2").write_bytes(data[: at + 3] + struct.pack(">I", 18) + data[at + 7 :])
    expected = np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB")).astype(int)
    assert abs(whole(tmp_path / "x.jp2") - expected).max() <= 1


@pytest.mark.parametrize("cut", [20, 60, 85, 110, 0.5])
def test_a_file_that_is_cut_off(tmp_path: Path, cut: float) -> None:
    for number, tile in enumerate(((64, 64), (400, 400))):
        path = tiled(tmp_path / f"{number}.jp2", scene("u1", 8, (210, 333, 3)), tile)
        data = path.read_bytes()
        path.write_bytes(data[: int(cut if cut > 1 else cut * len(data))])
        with pytest.raises(ImageError, match=r"damaged|copy or export"):
            whole(path)


def test_damaged_bytes_are_errors_or_pixels(tmp_path: Path) -> None:
    path = tiled(tmp_path / "x.jp2", scene("u1", 8, (100, 120)), (64, 64))
    data = bytearray(path.read_bytes())
    start = data.index(b"\xff\x4f\xff\x51")
    for at in range(start - 40, start + 140):
        changed = data.copy()
        changed[at] ^= 0xFF
        path.write_bytes(changed)
        with contextlib.suppress(ImageError):
            whole(path)


def test_header(tmp_path: Path) -> None:
    path = tiled(tmp_path / "x.jp2", scene("u1", 8, (100, 120, 3)), (64, 32))
    header = read_jp2_header(SourceFile(path))
    assert (header.bottom, header.right, header.tile) == (100, 120, (32, 64))
    assert (header.bits, header.signed, header.full, header.space) == ((8,) * 3, (False,) * 3, True, "RGB")


def test_gdal_reads_the_same(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels = scene("u2", 15, (300, 200, 1))
    options = {"QUALITY": 100, "REVERSIBLE": "YES", "nbits": 15, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        tmp_path / "x.jp2", "w", driver="JP2OpenJPEG", height=300, width=200, count=1, dtype="uint16", **options
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    np.testing.assert_array_equal(whole(tmp_path / "x.jp2"), pixels)
    with open_image(tmp_path / "x.jp2") as image:
        assert image.info.chunk == (64, 64)


FOLDER = Path(os.environ.get("FIT_DATA", "")) / "files"


@pytest.mark.skipif(
    "FIT_DATA" not in os.environ or not FOLDER.is_dir(), reason="FIT_DATA names no folder with files of strangers"
)
@pytest.mark.parametrize(
    ("name", "dtype", "channels", "most", "mean"),
    [
        ("b12_4", "uint16", 4, 4095, 2040.736),
        ("b15_1", "uint16", 1, 26952, 13476.0),
        ("b8_3", "uint8", 3, 255, 127.488),
    ],
)
def test_files_of_strangers(name: str, dtype: str, channels: int, most: int, mean: float) -> None:
    pixels = whole(FOLDER / f"{name}.jp2")
    assert (pixels.dtype, pixels.shape, pixels.min(), pixels.max()) == (dtype, (200, 240, channels), 0, most)
    assert pixels.mean() == pytest.approx(mean, abs=0.001)
