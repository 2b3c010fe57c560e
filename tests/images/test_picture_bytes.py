"""Pictures that are encoded in memory are those that decoders return."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fitcli.images.picture_bytes import jpeg_bytes, png_bytes


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_has_the_same_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, channels)).astype(np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(png_bytes(pixels)))).reshape(pixels.shape)
    assert (decoded == pixels).all()


def test_a_jpeg_has_nearly_the_same_pixels() -> None:
    pixels = np.full((30, 40, 3), (200, 30, 60), np.uint8)
    decoded = np.asarray(Image.open(io.BytesIO(jpeg_bytes(pixels[:, ::-1])))).astype(int)
    assert np.abs(decoded - pixels).max() <= 4
