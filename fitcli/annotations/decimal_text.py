"""Parses many decimal numbers at once, to the same floats as Python's `float`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.packed_polygons import Numbers

MOST_DIGITS = 15
"""Digits up to which a number without its point is exact as a float, and so its quotient by a power of ten is right."""

TENS = 10.0 ** np.arange(MOST_DIGITS + 1)

COMMA, MINUS, POINT, ZERO = b",-.0"


def parse_decimals(text: bytes) -> Floats:
    """Return the numbers of a text.

    Args:
        text: Numbers of digits and points, each perhaps with a minus before it, with commas between them.

    Raises:
        ValueError: A number is none of JSON: 1.2.3, 1., .5 or 01.
    """
    letters = np.frombuffer(text + b",", np.uint8)
    ends = np.flatnonzero(letters == COMMA)
    starts = np.concatenate([[0], ends[:-1] + 1])
    is_negative = letters[starts] == MINUS
    starts = starts + is_negative
    lengths = ends - starts
    points = np.flatnonzero(letters == POINT)
    owners = np.searchsorted(ends, points)
    decimals = np.zeros(len(ends), np.intp)
    decimals[owners] = ends[owners] - points - 1
    has_point = np.zeros(len(ends), np.bool_)
    has_point[owners] = True
    _check(letters, starts, ends, points, owners, lengths - decimals - has_point)
    if int((lengths - has_point).max()) > MOST_DIGITS:
        return np.fromstring(text.decode(), np.float64, sep=",")
    values = np.zeros(len(ends))
    for place in range(int(lengths.max())):
        digits = letters[np.minimum(starts + place, len(letters) - 1)].astype(np.float64) - ZERO
        # Points are below the digits.
        values = np.where((place < lengths) & (digits >= 0), 10 * values + digits, values)
    values /= TENS[decimals]
    return np.where(is_negative, -values, values)


def _check(
    letters: NDArray[np.uint8], starts: Numbers, ends: Numbers, points: Numbers, owners: Numbers, whole: Numbers
) -> None:
    has_two_points = len(owners) > 1 and bool((owners[1:] == owners[:-1]).any())
    if has_two_points or (whole < 1).any() or (points + 1 == ends[owners]).any():
        raise ValueError("a number with a point in a wrong place")
    if ((letters[starts] == ZERO) & (whole > 1)).any():
        raise ValueError("a number that begins with 0")
