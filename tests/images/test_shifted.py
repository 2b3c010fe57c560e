"""A shifted image gives the pixels of the padded array, in every window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.reader_contract import windows

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.shifted import Shifted
from fitcli.images.window import Window

PIXELS = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)


@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 0), (0, 9), (40, 33)])
def test_every_window(top: int, left: int) -> None:
    image = Shifted(ArrayReader(PIXELS), top, left)
    canvas = np.pad(PIXELS, ((top, 0), (left, 0), (0, 0)), mode="edge")
    assert image.info.size == canvas.shape[:2]
    for window in windows(*canvas.shape[:2]):
        inside = window.clip(*canvas.shape[:2])
        expected = canvas[inside.top : inside.top + inside.height, inside.left : inside.left + inside.width]
        np.testing.assert_array_equal(image.read(window), expected)


def test_smaller_levels_are_shifted_too(tmp_path: Path) -> None:
    from fitcli.images.base import ImageInfo
    from fitcli.images.open import create_image, open_image

    large = np.random.default_rng(1).integers(0, 256, (1100, 600, 1), np.uint8)
    with create_image(tmp_path / "a.tif", ImageInfo(height=1100, width=600, channels=1, dtype=large.dtype)) as canvas:
        canvas.write(Window(0, 0, 1100, 600), large)
    with open_image(tmp_path / "a.tif") as image:
        shifted = Shifted(image, 64, 32)
        level = len(image.info.levels) - 1
        shown, scale = image.info.levels[level], image.info.levels[level].downsample
        assert level > 0
        top, left = round(64 / scale), round(32 / scale)
        pixels = shifted.read(Window(0, 0, 2000, 2000), level)
        assert pixels.shape[:2] == (shown.height + top, shown.width + left)
        np.testing.assert_array_equal(pixels[top:, left:], image.read(Window(0, 0, 2000, 2000), level))
        with pytest.raises(ImageError):
            shifted.read(Window(0, 0, 1, 1), level + 1)


def test_only_down_and_to_the_right() -> None:
    with pytest.raises(ValueError, match="only down and to the right"):
        Shifted(ArrayReader(PIXELS), -1, 0)
