"""Conversions of colours equal those of Pillow, and arithmetic in floating point."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from fitcli.images.colors import (
    cmyk_to_rgb,
    colormap_to_palette,
    palette_to_rgb,
    white_is_zero_to_grey,
    ycbcr_to_rgb,
)

RANDOM = np.random.default_rng(0)


def test_ycbcr_equals_pillow() -> None:
    pixels = RANDOM.integers(0, 256, (50, 40, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels, "YCbCr").convert("RGB"))
    assert np.abs(ycbcr_to_rgb(pixels).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_cmyk_is_the_product_of_two_transmissions(dtype: str) -> None:
    full = np.iinfo(dtype).max
    ink = RANDOM.integers(0, full + 1, (50, 40, 4)).astype(dtype)
    light = 1 - ink / full
    rgb = cmyk_to_rgb(ink)
    assert rgb.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(rgb, np.rint(light[:, :, :3] * light[:, :, 3:] * full))
    assert cmyk_to_rgb(np.array([[[0, 0, 0, 0], [0, 0, 0, full]]], dtype)).tolist() == [[[full] * 3, [0] * 3]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2"])
def test_palette(dtype: str) -> None:
    colors = RANDOM.integers(0, 256, (16, 3), np.uint8)
    indices = RANDOM.integers(0, 20, (9, 7, 1)).astype(dtype)
    rgb = palette_to_rgb(colors)(indices)
    for row, column in np.ndindex(9, 7):
        assert rgb[row, column].tolist() == colors[min(indices[row, column, 0], 15)].tolist()


def test_large_palettes_of_narrow_indices() -> None:
    colors = RANDOM.integers(0, 256, (1000, 3), np.uint8)
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(palette_to_rgb(colors)(indices).reshape(256, 3), colors[:256])


def test_white_is_zero() -> None:
    assert white_is_zero_to_grey(255)(np.array([[[0], [255], [200]]], np.uint8)).tolist() == [[[255], [0], [55]]]
    assert white_is_zero_to_grey(4095)(np.array([[[0], [4095]]], np.uint16)).tolist() == [[[4095], [0]]]


def test_colour_maps_of_16_and_of_8_bits() -> None:
    colors = RANDOM.integers(0, 256, (3, 256))
    colors[0, 0] = 255
    for stored in (colors * 257, colors):
        palette = colormap_to_palette(stored.astype(np.uint16))
        assert palette.dtype == np.uint8
        np.testing.assert_array_equal(palette, colors.T)
