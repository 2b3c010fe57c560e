"""Netpbm files keep their own values, and are read window by window."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.raster.pnm import PnmHeader, read_header
from fitcli.images.window import Window

HEIGHT, WIDTH = 37, 61


def samples(most: int, channels: int = 1) -> Any:
    dtype = np.uint8 if most < 256 else np.uint16
    return np.random.default_rng(0).integers(0, most + 1, (HEIGHT, WIDTH, channels), dtype)


def write(path: Path, pixels: Any, most: int) -> None:
    kind = b"P6" if pixels.shape[2] == 3 else b"P5"
    stored = pixels.astype(">u2" if most > 255 else "u1").tobytes()
    path.write_bytes(b"%s\n# a comment\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, most) + stored)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("most", [1, 15, 255, 256, 4095, 65535])
def test_values_are_those_of_the_file(tmp_path: Path, most: int, channels: int) -> None:
    pixels = samples(most, channels)
    write(tmp_path / "image", pixels, most)
    with open_image(tmp_path / "image") as reader:
        assert reader.info.format == "PPM"
        assert reader.info.color == (channels == 3)
        assert reader.info.dtype == (np.uint8 if most < 256 else np.uint16)
        assert_equal(read_all(reader), pixels)
        for window in (Window(3, 5, 7, 11), Window(30, 58, 20, 20), Window(0, 60, 37, 1), Window(36, 0, 1, 61)):
            assert_equal(reader.read(window), pixels[window.clip(HEIGHT, WIDTH).slices()])


def test_a_mask_is_read_as_pillow_does(tmp_path: Path) -> None:
    mask = samples(1)[:, :, 0] > 0
    Image.fromarray(mask).save(tmp_path / "image", "PPM")
    assert (tmp_path / "image").read_bytes()[:2] == b"P4"
    with open_image(tmp_path / "image") as reader:
        assert reader.info.dtype == np.bool_
        assert_equal(read_all(reader), mask[:, :, None])
        for window in (Window(3, 5, 7, 11), Window(0, 58, 37, 3), Window(2, 9, 30, 1)):
            assert_equal(reader.read(window), mask[window.slices()][:, :, None])


@pytest.mark.parametrize("most", [255, 65535])
def test_files_of_pillow(tmp_path: Path, most: int) -> None:
    pixels = samples(most)[:, :, 0]
    Image.fromarray(pixels).save(tmp_path / "image", "PPM")
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), pixels[:, :, None])


def test_text_forms_are_read_by_pillow(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"P2 3 2 255\n1 2 3\n4 5 6\n")
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader)[:, :, 0], np.array([[1, 2, 3], [4, 5, 6]], np.uint8))


def test_header() -> None:
    assert read_header(b"P5 3\t2#x\n 255\n") == PnmHeader(2, 3, 1, 255, 14)
    assert read_header(b"P4\n3 2\n") == PnmHeader(2, 3, 1, 1, 7)


@pytest.mark.parametrize(
    "start",
    [b"P5", b"P5 3 2", b"P5 0 2 255\n", b"P5 3 2 0\n", b"P5 3 2 65536\n", b"P5 3 2 255x", b"P5 -3 2 255\n",
     b"P6 99999999999 2 255\n", b"P53 2 255\n", b"P5" + b"#\n" * 40_000 + b"3 2 255\n"],
)  # fmt: skip
def test_invalid_headers(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(ValueError, match="header is invalid"):
        read_header(start[: 1 << 16])
    (tmp_path / "image").write_bytes(start + bytes(100))
    with pytest.raises(ImageError):
        open_image(tmp_path / "image")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(samples(255)[:, :, 0]).save(file, "PPM")
    (tmp_path / "image").write_bytes(file.getvalue()[:-1])
    with pytest.raises(ImageError, match="ends 1 bytes early"):
        open_image(tmp_path / "image")
