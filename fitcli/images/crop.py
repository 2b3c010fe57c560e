"""Presents a window of an image as an image of its own."""

from __future__ import annotations

import dataclasses

from fitcli.images.base import ImageReader, Level, Pixels
from fitcli.images.window import Window


class Crop(ImageReader):
    """Reads a window of another image, on all its levels.

    On smaller levels, the edges of the window are rounded to whole pixels.

    Args:
        image: The image to read. It belongs to the caller: closing the crop does not close it.
        window: Window in level-0 pixels; it is clipped to the image.

    Raises:
        ValueError: The window does not touch the image.
    """

    def __init__(self, image: ImageReader, window: Window) -> None:
        window = window.clip(*image.info.size)
        if window.area == 0:
            raise ValueError(f"no pixels of {image.path} in {window}")
        self.path, self.decoding_bytes = image.path, image.decoding_bytes
        self.choice = image.choice
        self._image = image
        self._windows = [_on_level(window, level) for level in image.info.levels]
        levels = tuple(
            Level(part.height, part.width, level.downsample)
            for part, level in zip(self._windows, image.info.levels, strict=True)
        )
        geo = image.info.geo and image.info.geo.crop(window.top, window.left)
        features = image.info.features and image.info.features.crop(window.top, window.left)
        self.info = dataclasses.replace(
            image.info,
            height=window.height,
            width=window.width,
            levels=levels,
            geo=geo,
            ngff_transform=image.info.ngff_transform and image.info.ngff_transform.crop(window.top, window.left),
            features=features,
        )

    def read(self, window: Window, level: int = 0) -> Pixels:
        if not 0 <= level < len(self._windows):
            return self._image.read(window, level)  # raises the error of the image
        part = self._windows[level]
        clipped = window.clip(part.height, part.width)
        return self._image.read(clipped.shift(part.top, part.left), level)

    def close(self) -> None:
        pass


def _on_level(window: Window, level: Level) -> Window:
    """Return the window in pixels of a level, at least one pixel large."""
    top = min(round(window.top / level.downsample), level.height - 1)
    left = min(round(window.left / level.downsample), level.width - 1)
    bottom = max(round(window.bottom / level.downsample), top + 1)
    right = max(round(window.right / level.downsample), left + 1)
    return Window(top, left, bottom - top, right - left).clip(level.height, level.width)
