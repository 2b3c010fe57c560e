"""An image moved down and to the right on a larger canvas, as an image of its own. Knows no files."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageReader, Level, Pixels
from fitcli.images.window import Window


class Shifted(ImageReader):
    """Reads another image as if it lay `top` pixels lower and `left` pixels further to the right.

    What lies above it and on its left repeats its outermost pixels. On a smaller level the image is moved by the
    nearest number of whole pixels.

    Args:
        image: Stays open and belongs to the caller; closing this does not close it.
        top, left: In level-0 pixels, 0 or more.

    Raises:
        ValueError: A shift below 0.
    """

    def __init__(self, image: ImageReader, top: int, left: int) -> None:
        if min(top, left) < 0:
            raise ValueError(f"{image.path} cannot be moved by {top}, {left} pixels: only down and to the right")
        self.path = image.path
        self._image = image
        self._by = [(round(top / level.downsample), round(left / level.downsample)) for level in image.info.levels]
        levels = tuple(
            Level(level.height + below, level.width + right, level.downsample)
            for (below, right), level in zip(self._by, image.info.levels, strict=True)
        )
        height, width = image.info.height + top, image.info.width + left
        geo = image.info.geo and image.info.geo.cropped(-top, -left)
        self.info = dataclasses.replace(image.info, height=height, width=width, levels=levels, geo=geo)

    def read(self, window: Window, level: int = 0) -> Pixels:
        if not 0 <= level < len(self._by):
            return self._image.read(window, level)  # which says what is wrong
        shown, (top, left) = self.info.levels[level], self._by[level]
        window = window.clip(shown.height, shown.width)
        if window.area == 0:
            return np.empty((window.height, window.width, self.info.channels), self.info.dtype)
        rows = _places(window.top - top, window.height)
        columns = _places(window.left - left, window.width)
        inner = Window(int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
        pixels: Pixels = self._image.read(inner, level)[rows - rows[0]][:, columns - columns[0]]
        return pixels

    def close(self) -> None:
        pass


def _places(first: int, length: int) -> NDArray[np.int64]:
    """Where the pixels of a row or column are taken from."""
    return np.maximum(np.arange(first, first + length), 0)
