"""Reads the pixels of images as data for a network, window by window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange

Values = NDArray[np.float32]
"""Data [height width channels] in [-scale, scale], as the network takes them."""


@dataclass(frozen=True, slots=True)
class PixelSource:
    """The data of an image, window by window.

    Attributes:
        size: (height, width) in pixels.
        read: Returns the data of a window inside the image.
    """

    size: tuple[int, int]
    read: Callable[[Window], Values]


def image_source(image: ImageReader, preprocessing: Preprocessing, scale: float) -> PixelSource:
    """Return the data of an open image."""
    values = PixelRange.of(preprocessing)

    def read(window: Window) -> Values:
        pixels = preprocessing.convert(image.read(window), image.info)
        return (values.to_values(pixels) * 2 - 1) * np.float32(scale)

    return PixelSource(image.info.size, read)


def exact_source(image: ImageReader, scale: float) -> PixelSource:
    """Return the data of an image of values in [0, 1], which an earlier run of a chain has generated."""
    return PixelSource(image.info.size, lambda window: (image.read(window) * 2 - 1) * np.float32(scale))
