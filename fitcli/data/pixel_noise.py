"""Draws the noise of pixels by their place in the image, so that it does not depend on how the image is cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.images.window import Window
from fitcli.noise import generator

SQUARE = 64
"""Side of the squares of pixels that are drawn at a time."""

STREAM = "pixels of training images"


def pixel_noise(seed: int, window: Window, channels: int) -> NDArray[np.float32]:
    """Return standard normal noise [channels height width] for a window of an image.

    Args:
        seed: Seed of the image.
        window: Window in pixels of the image; it may not begin above it or on its left.
        channels: Channels of the image.
    """
    noise = np.empty((channels, window.height, window.width), np.float32)
    for row, column in window.chunks(SQUARE, SQUARE):
        square = Window(row * SQUARE, column * SQUARE, SQUARE, SQUARE)
        drawn = generator(seed, STREAM, row, column).standard_normal((channels, SQUARE, SQUARE), np.float32)
        part = square.intersection(window)
        target, source = (part.shift(-each.top, -each.left).slices() for each in (window, square))
        noise[:, *target] = drawn[:, *source]
    return noise
