"""Blurs pixels that lie channel by channel with a Gaussian, without those that are missing."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fitcli.data.color_change import Planes

REACH = 3.0
"""Distance at which the Gaussian is cut off, in standard deviations: 0.3 % of it lies beyond."""


def reach(deviation: float) -> int:
    """Return how many pixels around a pixel its blurred value depends on."""
    return math.ceil(REACH * deviation) if deviation else 0


def kernel(deviation: float) -> NDArray[np.float64]:
    """Return the weights of a pixel and of those at distances 1, 2, ... on either side, which sum to 1."""
    weights: NDArray[np.float64] = np.exp(-0.5 * np.square(np.arange(reach(deviation) + 1) / deviation))
    return np.asarray(weights / (2 * weights.sum() - weights[0]))


def blurred(planes: Planes, missing: NDArray[np.bool_] | None, deviation: float) -> Planes:
    """Return blurred pixels without the margin of `reach` pixels on each side.

    A missing pixel does not count; where one would, the weights of the others are made to sum to 1. The order of the
    sums does not depend on where the pixels begin.

    Args:
        planes: Pixels with a margin, [c h w]; finite where they are missing.
        missing: Flags of missing values, [c h w]; None if none are.
        deviation: Standard deviation in pixels, above 0.
    """
    weights = kernel(deviation).astype(planes.dtype)
    if missing is None or not missing.any():
        return _weighted(planes, weights)
    sums = _weighted(np.where(missing, planes.dtype.type(0), planes), weights)
    present = _weighted((~missing).astype(planes.dtype), weights)
    # A pixel without a missing one near it has the same bits as without the division.
    whole = _weighted(missing.astype(planes.dtype), weights) == 0
    result: Planes = np.where(whole, sums, sums / np.where(present > 0, present, 1))
    return result


def _weighted(planes: Planes, weights: Planes) -> Planes:
    return _along(_along(planes, weights, 1), weights, 2)


def _along(planes: Planes, weights: Planes, axis: int) -> Planes:
    around = len(weights) - 1
    length = planes.shape[axis] - 2 * around

    def moved(distance: int) -> Planes:
        chosen = [slice(None)] * 3
        chosen[axis] = slice(around + distance, around + distance + length)
        return planes[tuple(chosen)]

    total: Planes = moved(0) * weights[0]
    part = np.empty_like(total)
    for distance in range(1, around + 1):
        np.add(moved(-distance), moved(distance), out=part)
        part *= weights[distance]
        total += part
    return total
