"""Laplacian pyramids of pixels (Burt and Adelson 1983), as in Karras et al., arXiv:1710.10196. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
"""Pixels [height width channels] as floats."""

LEAST_SIDE = 16
"""Shorter side in pixels below which a pyramid has no further level."""

BINOMIAL = (1, 4, 6, 4, 1)
"""Weights of the filter along an axis, times 16. Pixels beyond the edge are mirrored at the outermost pixel."""


def level_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the (height, width) of each level of an image of `size`, finest first."""
    sizes = [size]
    while min(half := _half(sizes[-1])) >= LEAST_SIDE:
        sizes.append(half)
    return sizes


def laplacian_pyramid(values: Values) -> list[Values]:
    """Return the levels of an image, finest first: details of each size, and the smallest image itself.

    Each level but the last is an image minus what is left of it after halving and doubling. Both sides of the image
    have three pixels or more.
    """
    levels, image = [], values
    for size in level_sizes((values.shape[0], values.shape[1]))[:-1]:
        smaller = halve(image)
        levels.append(image - double(smaller, size))
        image = smaller
    return [*levels, image]


def halve(values: Values) -> Values:
    """Return every second pixel along both axes of the filtered image."""
    return np.ascontiguousarray(_filter(_filter(values, 0), 1)[::2, ::2])


def double(values: Values, size: tuple[int, int]) -> Values:
    """Return an image of `size`, of which `values` are every second pixel; the filter fills in the others."""
    spread = np.zeros((*size, values.shape[2]), np.float32)
    spread[::2, ::2] = values
    return 4 * _filter(_filter(spread, 0), 1)


def _half(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // 2), -(-size[1] // 2)


def _filter(values: Values, axis: int) -> Values:
    reach, length = len(BINOMIAL) // 2, values.shape[axis]
    padding = [(reach, reach) if each == axis else (0, 0) for each in range(values.ndim)]
    padded = np.moveaxis(np.pad(values, padding, mode="reflect"), axis, 0)
    total = sum(np.float32(weight / 16) * padded[start : start + length] for start, weight in enumerate(BINOMIAL))
    return np.moveaxis(np.asarray(total, np.float32), 0, axis)
