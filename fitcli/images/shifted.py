"""Presents an image shifted down and to the right as an image of its own."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageReader, Level, Pixels
from fitcli.images.window import Window


class Shifted(ImageReader):
    """Reads another image as if it lay `top` pixels lower and `left` pixels further to the right.

    The new pixels above it and on its left repeat its first row and column, or have a given value. On a smaller level
    the shift is rounded to whole pixels.

    Args:
        image: The image to read. It belongs to the caller: closing the shifted image does not close it.
        top, left: Shift in level-0 pixels, 0 or more.
        outside: Value of the new pixels; None to repeat the edge.

    Raises:
        ValueError: A shift is negative.
    """

    def __init__(self, image: ImageReader, top: int, left: int, outside: int | None = None) -> None:
        if min(top, left) < 0:
            raise ValueError(f"{image.path} cannot be shifted by {top}, {left} pixels: only down and to the right")
        self.path = image.path
        self.choice = image.choice
        self._image, self._outside = image, outside
        self._shifts = [(round(top / level.downsample), round(left / level.downsample)) for level in image.info.levels]
        levels = tuple(
            Level(level.height + below, level.width + right, level.downsample)
            for (below, right), level in zip(self._shifts, image.info.levels, strict=True)
        )
        height, width = image.info.height + top, image.info.width + left
        geo = image.info.geo and image.info.geo.crop(-top, -left)
        features = image.info.features and image.info.features.crop(-top, -left)
        self.info = dataclasses.replace(
            image.info,
            height=height,
            width=width,
            levels=levels,
            geo=geo,
            ngff_transform=image.info.ngff_transform and image.info.ngff_transform.crop(-top, -left),
            features=features,
        )

    def read(self, window: Window, level: int = 0) -> Pixels:
        if not 0 <= level < len(self._shifts):
            return self._image.read(window, level)  # raises the error of the image
        shown, (top, left) = self.info.levels[level], self._shifts[level]
        window = window.clip(shown.height, shown.width)
        if window.area == 0:
            return np.empty((window.height, window.width, self.info.channels), self.info.dtype)
        rows = _sources(window.top - top, window.height)
        columns = _sources(window.left - left, window.width)
        inner = Window(int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
        pixels: Pixels = self._image.read(inner, level)[rows - rows[0]][:, columns - columns[0]]
        if self._outside is not None:
            pixels[: max(0, top - window.top)] = self._outside
            pixels[:, : max(0, left - window.left)] = self._outside
        return pixels

    def close(self) -> None:
        pass


def _sources(first: int, length: int) -> NDArray[np.int64]:
    """Return, for each of `length` pixels from `first`, the index of the pixel that is read in its place."""
    return np.maximum(np.arange(first, first + length), 0)
