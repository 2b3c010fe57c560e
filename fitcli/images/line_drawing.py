"""Draws lines and dots with smooth edges into pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

FINER = 3
"""Number of times that a drawing is finer than its pixels, for smooth edges."""

Color = tuple[int, int, int]


def draw_line(pixels: NDArray[np.uint8], points: NDArray[np.float64], color: Color, width: float) -> None:
    """Draw a line through points (x, y) [n 2] in pixels, in place on pixels [height width 3]."""
    draw_lines(pixels, [points], color, width)


def draw_lines(pixels: NDArray[np.uint8], lines: Sequence[NDArray[np.float64]], color: Color, width: float) -> None:
    """Draw lines, each through points (x, y) [n 2] in pixels, in place on pixels [height width 3]."""
    thick = max(1, round(width * FINER))

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for points in lines:
            pen.line([(x * FINER, y * FINER) for x, y in points.tolist()], fill=255, width=thick, joint="curve")

    _draw(pixels, color, draw)


def draw_dots(pixels: NDArray[np.uint8], points: NDArray[np.float64], color: Color, radius: float) -> None:
    """Draw dots at points (x, y) [n 2] in pixels, in place on pixels [height width 3]."""
    reach = radius * FINER

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for x, y in points.tolist():
            pen.ellipse((x * FINER - reach, y * FINER - reach, x * FINER + reach, y * FINER + reach), fill=255)

    _draw(pixels, color, draw)


def _draw(pixels: NDArray[np.uint8], color: Color, draw: Callable[[ImageDraw.ImageDraw], None]) -> None:
    height, width = pixels.shape[:2]
    mask = Image.new("L", (width * FINER, height * FINER))
    draw(ImageDraw.Draw(mask))
    alpha = np.asarray(mask.reduce(FINER), np.float32)[..., None] / 255
    pixels[:] = np.rint(pixels * (1 - alpha) + np.array(color, np.float32) * alpha).astype(np.uint8)
