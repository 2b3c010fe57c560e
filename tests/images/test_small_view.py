"""Small views: of any dtype and number of channels, by level, with missing pixels black."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.images.array_image import ArrayReader
from fitcli.images.small_view import small_view
from fitcli.images.window import Window


def test_colours_of_bytes_stay() -> None:
    pixels = np.zeros((300, 200, 3), np.uint8)
    pixels[150:] = (10, 120, 250)
    view = small_view(ArrayReader(pixels), 60)
    assert view.shape == (60, 40, 3)
    np.testing.assert_array_equal(view[45, 20], (10, 120, 250))
    np.testing.assert_array_equal(view[10, 20], (0, 0, 0))


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_other_values_are_stretched(dtype: str, channels: int) -> None:
    ramp = np.linspace(300, 1500, 100)[None, :, None].repeat(50, axis=0).repeat(channels, axis=2).astype(dtype)
    view = small_view(ArrayReader(ramp), 100)
    assert view.shape == (50, 100, 3)
    assert (view[:, 0] < 5).all()
    assert (view[:, -1] > 250).all()
    assert 110 < view[25, 50, 0] < 145


def test_missing_pixels_are_black_and_do_not_stretch() -> None:
    values = np.full((40, 40, 1), 5.0, np.float32)
    values[:, 20:] = 6
    values[:10], values[30:] = np.nan, -9999
    view = small_view(ArrayReader(values, nodata=-9999), 40)
    assert (view[:10] == 0).all()
    assert (view[30:] == 0).all()
    assert (view[15, 30] == 255).all()
    assert (small_view(ArrayReader(np.full((5, 5, 1), np.nan, np.float32)), 40) == 0).all()


def test_a_level_is_read_that_is_fine_enough() -> None:
    large, middle, small = (np.full((side, side, 3), value, np.uint8) for side, value in ((512, 1), (128, 2), (16, 3)))
    image = ArrayReader([large, middle, small])
    assert (small_view(image, 64) == 2).all()
    assert (small_view(image, 4) == 3).all()
    assert (small_view(image, 300) == 1).all()


def test_a_window_is_a_part_of_the_image() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[40:60, 70:90] = 200
    view = small_view(ArrayReader(pixels), 100, Window(40, 70, 20, 20))
    assert view.shape == (20, 20, 3)
    assert (view == 200).all()
