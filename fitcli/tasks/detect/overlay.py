"""Draws found objects on a small view of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.objects.found_objects import FoundObjects
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.open import create_image
from fitcli.images.window import Window

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""Suffixes of pictures."""

LONGEST_SIDE = 2048
"""Greatest side of a picture, in pixels."""

THICKNESS = 2
"""Width of the sides of a box, in pixels of the picture; they lie around the box."""

POINT_REACH = 3
"""Half of the side of the square that marks a point, in pixels of the picture."""

STRIP_VALUES = 1 << 24
"""Values of the image that are read at a time."""


def write_overlay(path: Path, image: ImageReader, found: FoundObjects, table: ClassTable) -> None:
    """Write a picture of the image with the sides of all boxes in the colours of their classes.

    Args:
        path: The picture.
        image: The open image.
        found: Objects in pixels of the image as it is read.
        table: Names and colours of the classes.

    Raises:
        ImageError: The image cannot be read, or the picture cannot be written.
    """
    view = image_view(image)
    height, width = view.shape[:2]
    placed = found.scaled(width / image.info.width, height / image.info.height)
    colors = np.array([color or (255, 255, 255) for color in table.colors], np.uint8)
    # The best are drawn last.
    for number in np.argsort(placed.scores, kind="stable").tolist():
        _draw(view, placed.boxes[number], colors[placed.numbers[number]])
    info = ImageInfo(height=height, width=width, channels=3, dtype=np.dtype(np.uint8), color=True)
    with create_image(path, info) as writer:
        writer.write(Window(0, 0, height, width), view)


def picture_bytes(info: ImageInfo) -> int:
    """Return roughly how much memory `write_overlay` takes, in bytes."""
    return 8 * 3 * min(LONGEST_SIDE**2, info.height * info.width) + 8 * STRIP_VALUES


def image_view(image: ImageReader) -> NDArray[np.uint8]:
    """Return every n-th pixel of an image with at most `LONGEST_SIDE` pixels per side, in red, green and blue.

    The middle 98 % of the values become 0 ... 255.
    """
    info = image.info
    shrink = max(1.0, max(info.size) / LONGEST_SIDE)
    level = max(number for number, each in enumerate(info.levels) if each.downsample <= shrink * 1.01)
    shown = info.levels[level]
    step = -(-max(shown.height, shown.width) // LONGEST_SIDE)
    rows = max(1, STRIP_VALUES // (shown.width * info.channels) // step) * step
    strips = [
        image.read(Window(top, 0, min(rows, shown.height - top), shown.width), level)[::step, ::step, :3]
        for top in range(0, shown.height, rows)
    ]
    pixels = np.concatenate(strips).astype(np.float64)
    finite = pixels[np.isfinite(pixels)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    stretched = np.nan_to_num((pixels - low) / (high - low or 1), nan=0.0).clip(0, 1) * 255
    colors = stretched if pixels.shape[2] == 3 else stretched[..., :1].repeat(3, axis=2)
    return colors.astype(np.uint8)


def _draw(view: NDArray[np.uint8], box: NDArray[np.float64], color: NDArray[np.uint8]) -> None:
    """Draw the sides of a box; one too small to be seen, or a point, becomes a small square."""
    height, width = view.shape[:2]
    left, top, right, bottom = map(int, np.floor(box).tolist())
    if right == left and bottom == top:
        left, top, right, bottom = left - POINT_REACH, top - POINT_REACH, left + POINT_REACH, top + POINT_REACH
    for away in range(THICKNESS):
        rows = slice(max(0, top - away), min(height, bottom + away + 1))
        columns = slice(max(0, left - away), min(width, right + away + 1))
        for row in (top - away, bottom + away):
            if 0 <= row < height:
                view[row, columns] = color
        for column in (left - away, right + away):
            if 0 <= column < width:
                view[rows, column] = color
