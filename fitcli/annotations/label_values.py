"""Converts the values of label images to class numbers, and counts them. numpy only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import IGNORED, LARGEST_VALUE, ClassTable
from fitcli.files.wording import counted
from fitcli.images.missing import missing_pixels

Value = int | float
"""A value of a label image; an int if it is whole."""

UNKNOWN = -1
"""Class number of a value that no class has."""

LONGEST = 1 << 64
"""Whole floats from here on stay floats: an int would have hundreds of digits."""

NAMED = 5
"""Number of values to name."""


class ValueCounts(NamedTuple):
    """The values of some pixels.

    Attributes:
        pixels: Number of pixels by value.
        missing: Number of pixels that are nodata or not finite.
    """

    pixels: Counter[Value]
    missing: int


class ValueLookup:
    """Finds the classes of values.

    Args:
        table: The classes. The value 255 means "no label" unless a class has it.
    """

    def __init__(self, table: ClassTable) -> None:
        self._numbers = np.full(LARGEST_VALUE + 1, UNKNOWN, np.int16)
        self._numbers[IGNORED] = IGNORED
        self._numbers[list(table.values)] = np.arange(len(table.values))

    def number(self, value: Value) -> int:
        """Return the class number of a value, `IGNORED` or `UNKNOWN`."""
        return int(self._numbers[value]) if isinstance(value, int) and 0 <= value <= LARGEST_VALUE else UNKNOWN

    def numbers(self, values: NDArray[Any], nodata: float | None) -> NDArray[np.int16]:
        """Return the class number of each value; missing ones are ignored."""
        if _is_small(values.dtype):
            found = self._numbers[values.astype(np.uint16, copy=False)]
        else:
            wide = values.astype(np.promote_types(values.dtype, np.int32), copy=False)
            inside = (wide >= 0) & (wide <= LARGEST_VALUE)
            places = np.where(inside, wide, 0).astype(np.int32)
            found = np.where(inside & (places == wide), self._numbers[places], np.int16(UNKNOWN))
        missing = missing_pixels(values, nodata)
        if missing is not None:
            found[missing] = IGNORED
        return found


def count_values(values: NDArray[Any], nodata: float | None) -> ValueCounts:
    """Count the values of an array."""
    missing = missing_pixels(values, nodata)
    lost = 0 if missing is None else int(np.count_nonzero(missing))
    present = values if missing is None else values[~missing]
    if _is_small(values.dtype):
        # Faster than sorting.
        by_value = np.bincount(present.astype(np.uint16, copy=False).ravel())
        found = np.flatnonzero(by_value)
        counts = by_value[found]
    else:
        found, counts = np.unique(present, return_counts=True)
    numbers = [int(value) if value == value // 1 and abs(value) < LONGEST else float(value) for value in found.tolist()]
    pixels: Counter[Value] = Counter()
    pixels.update(dict(zip(numbers, counts.tolist(), strict=True)))
    return ValueCounts(pixels, lost)


def _is_small(dtype: np.dtype[Any]) -> bool:
    """Return whether all values of a dtype are whole numbers up to 65535."""
    return dtype.kind == "b" or (dtype.kind == "u" and dtype.itemsize <= 2)


def values_text(counts: Iterable[tuple[Value, int]]) -> str:
    """Return "7 (1,200 pixels), 9 (1 pixel), ..." for (value, number of pixels)."""
    pairs = list(counts)
    named = [f"{value} ({counted(count, 'pixel')})" for value, count in pairs[:NAMED]]
    return ", ".join([*named, *(["..."] if len(pairs) > NAMED else [])])
