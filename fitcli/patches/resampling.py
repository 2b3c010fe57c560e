"""Enlarges and shrinks images window by window. The pixels are those of the image resized as a whole. numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.images.window import Window

SHARPNESS = -0.5
"""Free parameter of the cubic kernel. With this value it reproduces polynomials of second degree (Keys 1981, equation
15)."""

REACH = 2
"""Pixels beyond a window of the source, on each side, that its enlargement depends on."""


def shrink(pixels: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Return the means of squares of `factor` x `factor` pixels: [height width channels], both sides rounded up.

    The outermost pixels are repeated where the last square is not whole.
    """
    height, width, channels = pixels.shape
    padding = (0, -height % factor), (0, -width % factor), (0, 0)
    whole = np.pad(pixels, padding, mode="edge") if height % factor or width % factor else pixels
    squares = whole.reshape(-(-height // factor), factor, -(-width // factor), factor, channels)
    means: NDArray[np.float32] = squares.mean(axis=(1, 3), dtype=np.float64).astype(np.float32)
    return means


def enlarging_weights(count: int, factor: int) -> NDArray[np.float32]:
    """Return the weights with which `enlarge` makes `count * factor` pixels of a row: [pixels, count + 2 * `REACH`].

    The source has `REACH` pixels more on each side. They are those of its neighbourhood, or its outermost pixel again.
    """
    source = count + 2 * REACH
    neighbours, weights = _taps(source, source * factor, REACH * factor, (REACH + count) * factor)
    matrix = np.zeros((count * factor, source), np.float32)
    for places, values in zip(neighbours, weights, strict=True):
        matrix[np.arange(count * factor), places] += values
    return matrix


def enlarge(
    read: Callable[[Window], Pixels], source: tuple[int, int], target: tuple[int, int], window: Window
) -> NDArray[np.float32]:
    """Return a window of an image enlarged by cubic convolution (Keys 1981, "Cubic convolution interpolation").

    The weights of a pixel depend only on its place in the image, so windows fit together without a seam.

    Args:
        read: Returns the pixels [height width channels] of a window of the source.
        source, target: (height, width) of the image and of the enlarged image. No side of the target may be shorter
            than that of the source.
        window: Window of the target. The outermost pixels are repeated beyond its edges.

    Returns:
        Pixels [height width channels] of `window`, float32. They may overshoot the range of the source.

    Raises:
        ValueError: The target is smaller than the source.
    """
    if target[0] < source[0] or target[1] < source[1]:
        raise ValueError(f"cannot enlarge an image of {source} pixels to {target}")
    rows, row_weights = _taps(source[0], target[0], window.top, window.bottom)
    columns, column_weights = _taps(source[1], target[1], window.left, window.right)
    top, left = int(rows.min()), int(columns.min())
    needed = Window(top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1)
    pixels = read(needed).astype(np.float32, copy=False)
    tall = sum(row_weights[k, :, None, None] * pixels[rows[k] - top] for k in range(4))
    wide = sum(column_weights[k, :, None] * tall[:, columns[k] - left] for k in range(4))
    return np.ascontiguousarray(wide)


def _taps(source: int, target: int, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the four source neighbours of each target pixel from `start` to `stop`, and their weights; both [4 n]."""
    pixels = np.arange(start, stop).clip(0, target - 1)
    # Pixels are aligned by their centres.
    place = (pixels + 0.5) * (source / target) - 0.5
    first = np.floor(place)
    neighbours = np.stack([first + k for k in (-1, 0, 1, 2)])
    weights = _cubic(np.abs(neighbours - place))
    return neighbours.astype(np.int64).clip(0, source - 1), weights.astype(np.float32)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the kernel (Keys 1981, equation 4)."""
    a = SHARPNESS
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
