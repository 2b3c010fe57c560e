"""The data of images lie within the scale, and their pixels are read window by window."""

from __future__ import annotations

import numpy as np
from support.generators import photograph

from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.diffusion.pixel_source import exact_source, image_source

COLORS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)


def test_the_data_of_an_image_lie_within_the_scale() -> None:
    image, window = photograph(40, 50), Window(10, 20, 13, 17)
    source = image_source(image, COLORS, 0.5)
    assert source.size == (40, 50)
    np.testing.assert_allclose(source.read(window), image.read(window).astype(np.float32) / 255 - 0.5, atol=1e-6)


def test_values_that_a_run_has_generated_are_not_rounded() -> None:
    values = np.random.default_rng(0).random((5, 6, 3), dtype=np.float32)
    source = exact_source(ArrayReader(values), 0.5)
    np.testing.assert_allclose(source.read(Window(1, 2, 3, 4)), values[1:4, 2:6] - 0.5, atol=1e-6)
