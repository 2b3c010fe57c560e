"""Pillow reads the text and the palette inside PNG and JPEG files."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.open import create_image, open_image
from fitcli.images.raster.comments import (
    JPEG_COMMENT_BYTES,
    jpeg_with_comment,
    jpeg_with_scale,
    png_with_scale,
    png_with_text,
)
from fitcli.images.window import Window

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
TEXT = "Müller's slide, 第一\nline 2"


def opened(data: bytes) -> tuple[dict[str, object], Pixels]:
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image)
        return dict(image.info), pixels


def test_png() -> None:
    data = imagecodecs.png_encode(NOISE)
    info, pixels = opened(png_with_text(data, TEXT))
    assert info["Description"] == TEXT
    np.testing.assert_array_equal(pixels, NOISE)


@pytest.mark.parametrize("by_pillow", [False, True])
def test_jpeg(by_pillow: bool) -> None:
    """With and without the JFIF segment, which must come first."""
    if by_pillow:
        file = io.BytesIO()
        Image.fromarray(NOISE).save(file, "JPEG", exif=b"Exif\0\0" + bytes(50))
        data = file.getvalue()
    else:
        data = imagecodecs.jpeg8_encode(NOISE, colorspace="rgb", outcolorspace="rgb")
    before, expected = opened(data)
    info, pixels = opened(jpeg_with_comment(data, TEXT))
    assert info.pop("comment") == TEXT.encode()
    assert info == before
    np.testing.assert_array_equal(pixels, expected)


def test_long_comments_are_cut() -> None:
    data = imagecodecs.jpeg8_encode(NOISE)
    info, pixels = opened(jpeg_with_comment(data, "x" * 10**6))
    assert info["comment"] == b"x" * JPEG_COMMENT_BYTES
    np.testing.assert_array_equal(pixels, opened(data)[1])


def test_a_palette_gives_values_colours_without_changing_them(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 300), dtype=np.uint8)
    palette = tuple((number, 255 - number, number // 2) for number in range(256))
    info = ImageInfo(height=7, width=300, channels=1, dtype=values.dtype, palette=palette)
    with create_image(tmp_path / "map.png", info, description="classes: 0=a") as canvas:
        canvas.write(Window(0, 0, 7, 300), values[..., None])
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.mode == "P"
        assert picture.info["Description"] == "classes: 0=a"
        assert (np.asarray(picture) == values).all()
        assert (np.asarray(picture.convert("RGB")) == np.array(palette, np.uint8)[values]).all()
    with open_image(tmp_path / "map.png", indices=True) as image:
        assert image.info.palette == palette
        assert (image.read(Window(0, 0, 7, 300))[..., 0] == values).all()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("mpp", [0.25, 0.5, 10.0, 1000.0])
def test_the_scale_is_the_resolution(tmp_path: Path, suffix: str, mpp: float) -> None:
    info = ImageInfo(height=20, width=30, channels=3, dtype=np.dtype("u1"), color=True, mpp=mpp)
    with create_image(tmp_path / f"a.{suffix}", info, description=TEXT) as writer:
        writer.write(Window(0, 0, 20, 30), NOISE)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        image.load()
        assert image.info["dpi"] == pytest.approx((25400 / mpp,) * 2, rel=1e-3)
    with open_image(tmp_path / f"a.{suffix}") as image:
        assert image.read(Window(0, 0, 20, 30)).shape == (20, 30, 3)


@pytest.mark.parametrize("mpp", [1e-6, 1e9])
def test_a_scale_that_does_not_fit_is_left_out(mpp: float) -> None:
    png, jpeg = imagecodecs.png_encode(NOISE), imagecodecs.jpeg8_encode(NOISE)
    assert png_with_scale(png, mpp) == png
    assert jpeg_with_scale(jpeg, mpp) == jpeg
    assert jpeg_with_scale(b"\xff\xd8\xff\xdb" + jpeg[20:], 0.5) == b"\xff\xd8\xff\xdb" + jpeg[20:]
