"""PNG and JPEG canvases, read back with Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.writer_contract import WriterContract

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.open import create_image
from fitcli.images.window import Window


def read_pillow(path: Path) -> Pixels:
    with Image.open(path) as image:
        pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


class TestPng(WriterContract):
    name = "image.png"

    def read_back(self, path: Path) -> list[Pixels]:
        return [read_pillow(path)]


class TestGrey16BitPng(TestPng):
    channels = 1
    dtype = np.uint16
    color = False


class TestPngWithAlpha(TestPng):
    channels = 4


class TestJpeg(TestPng):
    name = "image.jpg"
    tolerance = 12


class TestGreyJpeg(TestJpeg):
    name = "image.JPEG"
    channels = 1
    color = False


def description(**changes: Any) -> ImageInfo:
    return ImageInfo(**{"height": 10, "width": 10, "channels": 3, "dtype": np.dtype(np.uint8), **changes})


def test_colour_png_of_16_bits(tmp_path: Path) -> None:
    # Pillow reads these with 8 bits: compared with the upper byte.
    pixels = np.random.default_rng(0).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    with create_image(tmp_path / "x.png", description(height=20, width=30, dtype=np.dtype(np.uint16))) as image:
        image.write(Window(0, 0, 20, 30), pixels)
    np.testing.assert_array_equal(read_pillow(tmp_path / "x.png"), (pixels >> 8).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("x.png", {"dtype": np.dtype(np.float32)}),
        ("x.png", {"dtype": np.dtype(np.int16)}),
        ("x.png", {"channels": 5}),
        ("x.jpg", {"dtype": np.dtype(np.uint16)}),
        ("x.jpg", {"channels": 4}),
        ("x.png", {"height": 20_000, "width": 20_000}),
        ("x.jpg", {"height": 65_501}),
    ],
)
def test_what_the_formats_cannot_hold(tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError, match=r"write \.tif or \.zarr instead"):
        create_image(tmp_path / name, description(**changes))
    assert not list(tmp_path.iterdir())


def test_jpeg_quality(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3)).astype(np.uint8)
    sizes = []
    for quality in (10, 90):
        with create_image(tmp_path / "x.jpg", description(height=100, width=100), quality=quality) as image:
            image.write(Window(0, 0, 100, 100), pixels)
        sizes.append((tmp_path / "x.jpg").stat().st_size)
    assert sizes[0] < sizes[1] / 2
