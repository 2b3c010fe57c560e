"""A cropped image gives the pixels of the cropped array, in every window."""

from __future__ import annotations

import numpy as np
import pytest
from support.reader_contract import assert_equal, cut, windows

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.crop import Crop
from fitcli.images.window import Window

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.mark.parametrize("window", [Window(0, 0, 48, 64), Window(7, 5, 20, 31), Window(40, 60, 100, 100)])
def test_every_window(window: Window) -> None:
    crop, part = Crop(ArrayReader(PIXELS, mpp=0.5), window), cut(PIXELS, window)
    assert crop.info.size == part.shape[:2]
    assert crop.info.mpp == 0.5
    for inner in windows(*part.shape[:2]):
        assert_equal(crop.read(inner), cut(part, inner))


def test_smaller_levels_are_cropped_too() -> None:
    levels = [PIXELS, PIXELS[::2, ::2], PIXELS[::4, ::4]]
    crop = Crop(ArrayReader(levels), Window(8, 16, 20, 24))
    assert [(level.height, level.width, level.downsample) for level in crop.info.levels] == [
        (20, 24, 1), (10, 12, 2), (5, 6, 4),
    ]  # fmt: skip
    for number, (level, step) in enumerate(zip(levels, (1, 2, 4), strict=True)):
        expected = level[8 // step : 28 // step, 16 // step : 40 // step]
        assert_equal(crop.read(Window(0, 0, 99, 99), number), expected)
    with pytest.raises(ImageError, match="no level 3"):
        crop.read(Window(0, 0, 1, 1), 3)


def test_a_level_has_at_least_one_pixel() -> None:
    crop = Crop(ArrayReader([PIXELS, PIXELS[::16, ::16]]), Window(47, 63, 1, 1))
    assert_equal(crop.read(Window(0, 0, 9, 9), 1), PIXELS[::16, ::16][2:3, 3:4])


def test_the_image_stays_open() -> None:
    image = ArrayReader(PIXELS)
    Crop(image, Window(0, 0, 5, 5)).close()
    assert image.read(Window(0, 0, 5, 5)).shape == (5, 5, 3)


def test_windows_beside_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="no pixels"):
        Crop(ArrayReader(PIXELS), Window(48, 0, 5, 5))
