"""Writes layers, such as heat maps and maps of classes, so that they lie over the image that they belong to.

A layer over an image of pixels has its size. A layer over an image of features lies over the slide of the features: it
begins at the upper left corner of the slide, and a place is one pixel or a few. So viewers need its scale alone.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.images.base import ImageInfo, ImageWriter, Pixels
from fitcli.images.feature_grid import FeatureGrid, LayerFrame, layer_frame
from fitcli.images.open import create_image
from fitcli.images.window import Window

BAND_PIXELS = 1 << 22
"""Pixels of the margin that are written at a time."""


def layer_info(info: ImageInfo) -> ImageInfo:
    """Return the description of the file of a layer.

    Args:
        info: The layer in pixels of its image, with the `features` of the image.
    """
    if info.features is None:
        return info
    frame, mpp = layer_frame(info.features, info.size), info.features.mpp
    return replace(
        info,
        height=frame.height,
        width=frame.width,
        levels=(),
        mpp=None if mpp is None else mpp * frame.side,
        ngff_transform=None,
        features=FeatureGrid(side=frame.side, slide=info.features.slide, mpp=mpp),
    )


def create_layer(
    path: Path, info: ImageInfo, *, outside: float = 0.0, description: str | None = None, **options: Any
) -> ImageWriter:
    """Create a layer. Write whole rows of it, from top to bottom, in pixels of its image.

    Args:
        path: Path of the layer, see `create_image`.
        info: The layer in pixels of its image, with the `features` of the image.
        outside: Value of the parts of a slide without features.
        description, options: See `create_image`.

    Raises:
        ImageError: The file cannot be written.
    """
    if info.features is None:
        return create_image(path, info, description=description, **options)
    frame = layer_frame(info.features, info.size)
    scale = "" if frame.side == 1 else f"one pixel covers {frame.side:g} x {frame.side:g} pixels of the slide"
    text = "; ".join(filter(None, (description, scale))) or None
    return SlideLayer(create_image(path, layer_info(info), description=text, **options), info, frame, outside)


class SlideLayer(ImageWriter):
    """A layer over a slide, which takes whole rows in places of the features.

    Args:
        writer: Writer of the file.
        info: The layer in places.
        frame: Position of the places in the file.
        outside: Value of the parts without features.
    """

    def __init__(self, writer: ImageWriter, info: ImageInfo, frame: LayerFrame, outside: float) -> None:
        self.path, self.info = writer.path, info
        self._writer, self._frame, self._outside = writer, frame, outside
        self._fill(0, frame.top)

    def write(self, window: Window, pixels: Pixels) -> None:
        """Write whole rows.

        Raises:
            ValueError: The window is not as wide as the layer, or the pixels do not fit it.
            ImageError: The file cannot be written.
        """
        frame, expected = self._frame, (window.height, self.info.width, self.info.channels)
        if (window.left, window.width) != (0, self.info.width) or pixels.shape != expected:
            raise ValueError(f"whole rows {expected} are written, not {pixels.shape} at {window}")
        band = np.full((window.height * frame.repeat, frame.width, self.info.channels), self._outside, pixels.dtype)
        enlarged = pixels.repeat(frame.repeat, axis=0).repeat(frame.repeat, axis=1)
        band[:, frame.left : frame.left + enlarged.shape[1]] = enlarged
        top = frame.top + window.top * frame.repeat
        self._writer.write(Window(top, 0, band.shape[0], frame.width), band)

    def close(self) -> None:
        self._fill(self._frame.top + self.info.height * self._frame.repeat, self._frame.height)
        self._writer.close()

    def discard(self) -> None:
        self._writer.discard()

    def _fill(self, first: int, stop: int) -> None:
        """Write the rows of a margin. Pixels that are never written are 0 already."""
        rows = max(1, BAND_PIXELS // (self._frame.width * self.info.channels))
        for top in range(first, stop if self._outside else first, rows):
            shape = (min(rows, stop - top), self._frame.width, self.info.channels)
            self._writer.write(Window(top, 0, *shape[:2]), np.full(shape, self._outside, self.info.dtype))
