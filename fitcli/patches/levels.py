"""Quantises pixels to integer levels, and back, with numpy. For tensors see `cutting.patches_to_levels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.patches.value_range import to_unit_range

UNIT = (0.0, 1.0)
"""Range of pixels that are neither uint8 nor uint16, unless a caller gives another."""

MOST_LEVELS = 256
"""Largest number of levels: the values of an 8-bit pixel. Each level is one token of the vocabulary."""


def has_whole_range(dtype: str, limits: tuple[float, float] | None) -> bool:
    """Return whether levels divide all values of a dtype: for uint8 always, for uint16 unless `limits` are narrower."""
    return dtype == "uint8" or (dtype == "uint16" and limits in (None, (0.0, 65535.0)))


def to_levels(pixels: NDArray[Any], levels: int, limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Quantise pixels to levels 0 ... `levels` - 1. Each level covers an equal part of the range.

    Args:
        pixels: Pixels of any dtype.
        levels: Number of levels, 2 ... 256.
        limits: (black, white). Pixels beyond them become black or white, and NaN becomes the middle. uint8 pixels have
            the range of their dtype instead. None for the range of uint16, and for 0 ... 1 of other pixels.
    """
    if has_whole_range(pixels.dtype.name, limits):
        return (pixels.astype(np.uint32) * levels // _values(pixels.dtype)).astype(np.uint8)
    unit = to_unit_range(pixels, *(limits or UNIT))
    quantized: NDArray[np.uint8] = np.minimum(unit * levels, levels - 1).astype(np.uint8)
    return quantized


def from_levels(
    values: NDArray[Any], levels: int, dtype: np.dtype[Any], limits: tuple[float, float] | None = None
) -> NDArray[Any]:
    """Turn levels back into pixels of `dtype`.

    `to_levels` turns these pixels into the same levels again. For integers within `limits` this holds if each level
    covers at least two values.

    A level covers a run of values. The darkest level becomes the lowest value of its run, the brightest the highest
    value of its run, and the levels between them values in proportion.
    """
    numbers = np.arange(levels, dtype=np.int64)
    if has_whole_range(dtype.name, limits):
        count = _values(dtype)
        lowest, highest = -(-numbers * count // levels), -(-(numbers + 1) * count // levels) - 1
        table = lowest + ((highest - lowest) * numbers + (levels - 1) // 2) // (levels - 1)
    else:
        low, high = limits or UNIT
        # The product comes first: it is exact for integers, and so is a quotient that is one.
        table = low + numbers * (high - low) / (levels - 1)
        if dtype.kind != "f":
            # Round towards the middle of the run of values that the level covers.
            table = np.where(numbers < levels / 2, np.ceil(table), np.floor(table))
    pixels: NDArray[Any] = table.astype(dtype)[values]
    return pixels


def _values(dtype: np.dtype[Any]) -> int:
    """Return the number of values of an unsigned integer dtype."""
    return int(np.iinfo(dtype).max) + 1


def quantize(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Quantise values in [0, 1] to levels 0 ... 255, rounded towards zero as in the reference.

    Raises:
        ValueError: A value lies outside [0, 1], or is NaN.
    """
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"values from {values.min()} to {values.max()} do not lie in [0, 1]")
    return (values.astype(np.float32) * np.float32(255)).astype(np.uint8)
