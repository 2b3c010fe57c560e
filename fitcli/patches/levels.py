"""Pixels as integer levels, and back: numpy alone. Batches of tensors have `patches.to_levels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WHOLE_RANGE = ("uint8", "uint16")
"""Types of pixels whose range is divided into levels; that of others has to be given."""

MOST_LEVELS = 256
"""A pixel of 8 bits has no more, and a token is one of them."""


def to_levels(pixels: NDArray[Any], levels: int, limits: tuple[float, float] = (0.0, 1.0)) -> NDArray[np.uint8]:
    """Pixels to levels 0 ... `levels` - 1, each for an equal share of the range: as `patches.to_levels`.

    Args:
        pixels: Of any dtype.
        levels: 2 ... 256.
        limits: (black, white) of pixels that are neither uint8 nor uint16: those have the range of their dtype. What
            lies beyond becomes black or white, and NaN the middle.
    """
    if pixels.dtype.name in WHOLE_RANGE:
        return (pixels.astype(np.uint32) * levels // _values(pixels.dtype)).astype(np.uint8)
    low, high = np.float32(limits[0]), np.float32(limits[1])
    unit = np.nan_to_num((pixels.astype(np.float32) - low) / (high - low), nan=0.5, posinf=1, neginf=0).clip(0, 1)
    quantized: NDArray[np.uint8] = np.minimum(unit * levels, levels - 1).astype(np.uint8)
    return quantized


def from_levels(
    values: NDArray[Any], levels: int, dtype: np.dtype[Any], limits: tuple[float, float] = (0.0, 1.0)
) -> NDArray[Any]:
    """Levels back to pixels of `dtype`, over the whole range.

    `to_levels` gives the same levels again (of integers within limits: where a level is two values wide or more).

    A level stands for a run of values. It becomes the lowest of its run where it is the darkest, the highest where it
    is the brightest, and what lies between them in proportion otherwise.
    """
    numbers = np.arange(levels, dtype=np.int64)
    if dtype.name in WHOLE_RANGE:
        count = _values(dtype)
        lowest, highest = -(-numbers * count // levels), -(-(numbers + 1) * count // levels) - 1
        table = lowest + ((highest - lowest) * numbers + (levels - 1) // 2) // (levels - 1)
    else:
        table = limits[0] + numbers / (levels - 1) * (limits[1] - limits[0])
        if dtype.kind != "f":
            # Towards the middle of the run of values that the level stands for.
            table = np.where(numbers < levels / 2, np.ceil(table), np.floor(table))
    chosen: NDArray[Any] = table.astype(dtype)[values]
    return chosen


def _values(dtype: np.dtype[Any]) -> int:
    """How many an integer of this type can have."""
    return int(np.iinfo(dtype).max) + 1


def quantize(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in [0, 1] -> levels 0 .. 255, rounded towards zero as in the reference.

    Raises:
        ValueError: A value lies outside, or is NaN.
    """
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"values from {values.min()} to {values.max()} do not lie in [0, 1]")
    return (values.astype(np.float32) * np.float32(255)).astype(np.uint8)
