"""Decodes a JSON text of many polygons without a Python object for each number.

The points of polygons of one ring are cut out of the text and parsed together. What is left is decoded as usual, with a
name in place of each ring. What has holes, several parts, heights or exponents stays where it is.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.decimal_text import parse_decimals
from fitcli.annotations.packed_polygons import Numbers, starts_of

_BLANKS, _NUMBER = r"[ \t\n\r]*+", r"-?[0-9.]{1,40}+"
_POINT = rf"\[{_BLANKS}{_NUMBER}{_BLANKS},{_BLANKS}{_NUMBER}{_BLANKS}\]"

RING = re.compile(
    rf'("coordinates"{_BLANKS}:{_BLANKS})\[{_BLANKS}\[{_BLANKS}'
    rf"({_POINT}(?:{_BLANKS},{_BLANKS}{_POINT})*+){_BLANKS}\]{_BLANKS}\]"
)
"""The coordinates of a polygon of one ring. It never goes back over what it has matched, so it takes linear time."""

BETWEEN = b"[] \t\n\r"
"""What stands between numbers and commas."""


@dataclass(frozen=True, slots=True)
class DecodedRings:
    """Rings of a text.

    Attributes:
        numbers: Their numbers by the names that stand in place of their coordinates.
        points: Points of all rings [n 2], closed.
        starts: Index of the first point of each ring, and `n` at the end.
        given: Number of points of each ring in the text.
        has_area: Whether the first three points of each differ; if not, others may.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    points: Floats = field(default_factory=lambda: np.empty((0, 2)))
    starts: Numbers = field(default_factory=lambda: np.zeros(1, np.int64))
    given: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    has_area: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def ring(self, name: str) -> Floats:
        """Return the points of a ring as they stand in the text."""
        number = self.numbers[name]
        start = int(self.starts[number])
        return self.points[start : start + int(self.given[number])]


def decode_rings(text: str) -> tuple[Any, DecodedRings]:
    """Decode a JSON text; return the value, and the rings whose names stand in it.

    Raises:
        ValueError, RecursionError: As of `json.loads`.
    """
    # No file can know the names.
    token, blocks = secrets.token_hex(8), list[str]()

    def cut(match: re.Match[str]) -> str:
        blocks.append(match[2])
        return f'{match[1]}"{token}{len(blocks) - 1}"'

    value = json.loads(RING.sub(cut, text))
    return value, _parsed(token, blocks) if blocks else DecodedRings()


def _parsed(token: str, blocks: list[str]) -> DecodedRings:
    points = parse_decimals(",".join(blocks).encode().translate(None, BETWEEN)).reshape(-1, 2)
    given = np.array([block.count("[") for block in blocks], np.int64)
    stops = np.cumsum(given)
    starts = stops - given
    first, second, third = (points[np.minimum(starts + n, len(points) - 1)] for n in range(3))
    has_area = _differ(first, second) & _differ(first, third) & _differ(second, third) & (given >= 3)
    is_open = np.flatnonzero(_differ(first, points[stops - 1]))
    closed = np.insert(points, stops[is_open], first[is_open], axis=0)
    lengths = given.copy()
    lengths[is_open] += 1
    names = {f"{token}{number}": number for number in range(len(blocks))}
    return DecodedRings(names, closed, starts_of(lengths), given, has_area)


def _differ(points: Floats, others: Floats) -> NDArray[np.bool_]:
    differ: NDArray[np.bool_] = (points != others).any(axis=1)
    return differ
