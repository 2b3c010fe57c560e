"""Reads numbers from metadata and writes them as text without losing a digit.

A float holds integers up to 2^53 exactly; pixels of 64 bits go further. Such numbers stay integers.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

LARGEST_INTEGER = 2**64
"""Integers beyond it are no value of a pixel, and become floats."""


def exact_number(text: str | float) -> float | None:
    """Return the number that a text or a value from JSON states: an int if it is whole, else a float.

    Returns:
        None if the text is not a number, or one that no float holds. "nan" and "inf" are numbers.
    """
    try:
        number = Decimal(text.strip() if isinstance(text, str) else text)
    except (InvalidOperation, ValueError, TypeError):
        return None
    # A signalling NaN refuses to become a float; the text of a number beyond all floats becomes infinity.
    value = math.nan if number.is_nan() else float(str(number))
    if abs(value) <= LARGEST_INTEGER and number == number.to_integral_value():
        return int(number)
    return None if math.isinf(value) and number.is_finite() else value


def number_text(number: float) -> str:
    """Return the shortest text from which `exact_number` reads the same number."""
    if isinstance(number, int) or not math.isfinite(number):
        return str(number)
    short = f"{number:g}"
    if float(short) == number:
        return short
    # Software that reads the nodata value of integer pixels takes no decimal point.
    return str(int(number)) if number.is_integer() and abs(number) <= LARGEST_INTEGER else repr(float(number))


def value_text(number: float, dtype: np.dtype[Any]) -> str:
    """Return the text of a value of pixels: an integer within the range of an integer dtype, all digits of a float.

    Beyond 2^53 a float stands for several integers, which the text says, except at the ends of the range of the dtype.
    """
    if dtype.kind == "f":
        # The shortest text of float16 and float32 values has fewer digits than that of the same number as float64.
        own = dtype.type(number)
        return number_text(float(str(own)) if float(own) == number else number)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not low < number < high:
        return str(int(low if number <= low else high))
    return f"{'' if abs(number) < 2**53 else 'about '}{round(number)}"
