"""Changes the colours of pixels that lie channel by channel: hue and saturation, or each channel for itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.floating[Any]]
"""Pixels as floats, [channels height width]."""


def hue_matrix(turn: float, saturation: float) -> NDArray[np.float64]:
    """Return the matrix [3 3] that turns colours (red, green, blue) about the axis of greys.

    Greys, and the mean of the three channels, stay. A third of a turn is an exchange of the channels: red becomes
    green, green blue, and blue red. The colour matrices of the W3C's Filter Effects (hueRotate, saturate) are the same
    with weights of luminance.

    Args:
        turn: Change of the hue, in turns.
        saturation: Factor of the distance from grey.
    """
    angle = 2 * math.pi * turn
    grey = np.full((3, 3), 1 / 3)
    # The product with the axis of greys, which turns colours by a quarter (Rodrigues' formula).
    across = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    turned = math.cos(angle) * (np.eye(3) - grey) + math.sin(angle) * across
    return np.asarray(grey + saturation * turned)


def mixed(planes: Planes, matrix: NDArray[np.float64]) -> Planes:
    """Return channels [k h w] that are sums of others [c h w], with the weights of a matrix [k c].

    The sums are taken value by value and in order: a product of matrices would round by the number of the pixels.
    """
    result = np.empty((len(matrix), *planes.shape[1:]), planes.dtype)
    part = np.empty(planes.shape[1:], planes.dtype)
    for row, target in zip(matrix, result, strict=True):
        np.multiply(planes[0], planes.dtype.type(row[0]), out=target)
        for weight, plane in zip(row[1:], planes[1:], strict=True):
            target += np.multiply(plane, planes.dtype.type(weight), out=part)
    return result


def rebalanced(planes: Planes, gains: NDArray[np.float64], shifts: NDArray[np.float64], means: Planes) -> Planes:
    """Return channels with another contrast about their means, and another brightness.

    Args:
        planes: Pixels.
        gains, shifts: Factor, and summand in units of the pixels, of each channel.
        means: Mean of each channel.
    """
    factor = gains.astype(planes.dtype)[:, None, None]
    summand = (means * (1 - gains) + shifts).astype(planes.dtype)[:, None, None]
    result: Planes = planes * factor
    result += summand
    return result
