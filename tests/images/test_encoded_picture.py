"""Pictures in memory: maps without loss, photographs as JPEG, smaller ones of the right size."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from fitcli.images.encoded_picture import encode_picture, resized, shrunk


@pytest.mark.parametrize("colors", [2, 256, 5000])
def test_flat_pictures_keep_every_pixel(colors: int) -> None:
    rng = np.random.default_rng(colors)
    palette = rng.integers(0, 256, (colors, 3), np.uint8)
    pixels = palette[rng.integers(0, colors, (90, 70))]
    mime, data = encode_picture(pixels, flat=True)
    assert mime == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(data)).convert("RGB")), pixels)


def test_others_are_jpeg() -> None:
    pixels = np.full((50, 40, 3), (200, 30, 90), np.uint8)
    mime, data = encode_picture(pixels)
    assert mime == "image/jpeg"
    assert np.abs(np.asarray(Image.open(BytesIO(data))).astype(int) - pixels).max() < 6


def test_smaller_pictures_are_means_or_picked_pixels() -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, ::2] = 100
    assert shrunk(pixels, 20).shape == (10, 20, 3)
    assert (shrunk(pixels, 20) == 50).all()
    assert set(np.unique(shrunk(pixels, 20, flat=True))) <= {0, 100}
    assert shrunk(pixels, 80) is pixels
    assert resized(pixels, (7, 9)).shape == (7, 9, 3)
    assert shrunk(np.zeros((1, 1000, 3), np.uint8), 20).shape == (1, 20, 3)
