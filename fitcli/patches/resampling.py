"""Enlarging images window by window, with the pixels that enlarging them whole would give. numpy only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.images.window import Window

SHARPNESS = -0.5
"""The free parameter of the cubic kernel: reproduces polynomials of second degree (Keys 1981, equation 15)."""


def enlarge(
    read: Callable[[Window], Pixels], source: tuple[int, int], target: tuple[int, int], window: Window
) -> NDArray[np.float32]:
    """A window of an image enlarged by cubic convolution (Keys 1981, "Cubic convolution interpolation").

    The weights of a pixel depend on its place in the image alone, so that windows fit together without a seam.

    Args:
        read: Gives the pixels [height width channels] of a window of the source.
        source, target: (height, width) of the image and of the enlarged image; each side of the target at least that
            of the source.
        window: Of the target. Beyond its edges the outermost pixels are repeated.

    Returns:
        [height width channels] of `window`, float32; may overshoot the range of the source.

    Raises:
        ValueError: The target is smaller than the source.
    """
    if target[0] < source[0] or target[1] < source[1]:
        raise ValueError(f"enlarging cannot turn {source} into {target} pixels")
    rows, row_weights = _taps(source[0], target[0], window.top, window.bottom)
    columns, column_weights = _taps(source[1], target[1], window.left, window.right)
    top, left = int(rows.min()), int(columns.min())
    needed = Window(top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1)
    pixels = read(needed).astype(np.float32, copy=False)
    tall = sum(row_weights[k, :, None, None] * pixels[rows[k] - top] for k in range(4))
    wide = sum(column_weights[k, :, None] * tall[:, columns[k] - left] for k in range(4))
    return np.ascontiguousarray(wide)


def _taps(source: int, target: int, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The four neighbours in the source of each target pixel from `start` to `stop`, and their weights: both [4 n]."""
    pixels = np.arange(start, stop).clip(0, target - 1)
    # Centres of pixels, in pixels of the source.
    place = (pixels + 0.5) * (source / target) - 0.5
    first = np.floor(place)
    neighbours = np.stack([first + k for k in (-1, 0, 1, 2)])
    weights = _cubic(np.abs(neighbours - place))
    return neighbours.astype(np.int64).clip(0, source - 1), weights.astype(np.float32)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel (Keys 1981, equation 4)."""
    a = SHARPNESS
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
