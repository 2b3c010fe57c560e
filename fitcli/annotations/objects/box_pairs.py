"""Finds the pairs of boxes that overlap by a share, without comparing all boxes with all.

Boxes lie in bins: by class, by the logarithms of width and height, and by the place of the middle in squares as wide
and high as boxes of the bin. Boxes that overlap by more than a share have widths and heights of about that ratio, and
middles that are near; so partners lie in few bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats

Integers = NDArray[np.int64]

LEAST_SIDE = 1e-3
"""Side that narrower boxes have in the bins, in pixels."""

SIZE_BITS, SQUARE_BITS = 8, 20
"""Bits of a bin of sizes and of the number of a square in a key. Squares further on share keys, which costs time."""

COMPARED_AT_ONCE = 1 << 18
"""Pairs that are compared at once, and those of one more box: few, for the cache of the processor."""

SIZE_FACTORS = np.array([1 << 32, 1])
"""Factors that make one number of the two bins of a size."""

Pairs = tuple[Integers, Integers, Floats]
"""Numbers of the boxes of each pair, and their overlaps."""

NO_PAIRS: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
"""No pair."""


class BoxBins(NamedTuple):
    """Boxes in bins, in the order of their keys, so that neighbours are near each other in memory.

    Attributes:
        share: Least overlap of partners.
        order: Number of each box in the order in which they were given.
        boxes: (left, top, right, bottom) [n 4].
        numbers: Class numbers, [n].
        sizes: Bin of (width, height), [n 2].
        keys: Keys of the bins that hold a box, ascending.
        starts: First box of each, and n at the end.
    """

    share: float
    order: Integers
    boxes: Floats
    numbers: Integers
    sizes: Integers
    keys: NDArray[np.uint64]
    starts: Integers

    @classmethod
    def of(cls, boxes: Floats, numbers: Integers, share: float) -> BoxBins:
        """Return boxes in bins for partners that overlap by at least `share`, which is in (0, 1)."""
        sizes = _size_bins(boxes, share)
        keys = _keys(numbers, sizes, np.floor(_steps(boxes, sizes, share)).astype(np.int64))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        firsts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
        return cls(share, order, boxes[order], numbers[order], sizes[order], keys[firsts], np.append(firsts, len(keys)))

    def own_pairs(self, most: int) -> Pairs | None:
        """Return every pair of partners once, in either order; None if more than `most` pairs must be compared."""
        compared = 0
        for _, _, lengths in self._ranges(self, HALF):
            compared += int(lengths.sum())
            if compared > most:
                return None
        one, other, overlaps = map(np.concatenate, zip(NO_PAIRS, *self._pairs(self, HALF), strict=True))
        # Within a bin of sizes, both boxes of a pair find each other.
        once = ~((self.sizes[one] == self.sizes[other]).all(axis=1) & (one >= other))
        return self.order[one[once]], self.order[other[once]], overlaps[once]

    def pairs(self, others: BoxBins) -> Iterator[Pairs]:
        """Yield the pairs of partners of own boxes (first) and others, in parts."""
        for own, partner, overlaps in self._pairs(others, AROUND_BIN):
            yield self.order[own], others.order[partner], overlaps

    def _pairs(self, others: BoxBins, steps: list[tuple[int, int]]) -> Iterator[Pairs]:
        for other, starts, lengths in self._ranges(others, steps):
            ends = np.cumsum(lengths)
            cuts = np.flatnonzero(np.diff(ends // COMPARED_AT_ONCE)) + 1
            for some in np.split(np.arange(len(other)), cuts):
                partner = np.repeat(other[some], lengths[some])
                first = starts[some] - (np.cumsum(lengths[some]) - lengths[some])
                own = np.arange(len(partner)) + np.repeat(first, lengths[some])
                overlaps = overlaps_of(self.boxes[own], others.boxes[partner])
                good = np.flatnonzero((overlaps >= self.share) & (self.numbers[own] == others.numbers[partner]))
                yield own[good], partner[good], overlaps[good]

    def _ranges(self, others: BoxBins, steps: list[tuple[int, int]]) -> Iterator[tuple[Integers, Integers, Integers]]:
        """Yield numbers of others with the start and the length of a range of own boxes that may be partners."""
        present, wanted = (np.unique(each.sizes @ SIZE_FACTORS) for each in (self, others))
        for wider, higher in steps:
            if not np.isin(wanted + (wider, higher) @ SIZE_FACTORS, present).any():
                continue
            bins = others.sizes + np.array([wider, higher])
            nearest = np.floor(_steps(others.boxes, bins, self.share) - 0.5).astype(np.int64)
            for right, down in product((0, 1), repeat=2):
                keys = _keys(others.numbers, bins, nearest + np.array([right, down]))
                place = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
                met = np.flatnonzero(self.keys[place] == keys)
                place = place[met]
                yield met, self.starts[place], self.starts[place + 1] - self.starts[place]


AROUND_BIN = [(wider, higher) for wider in (-1, 0, 1) for higher in (-1, 0, 1)]
"""Steps from a bin of sizes to all those of partners."""

HALF = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0)]
"""Steps from a bin of sizes to those of partners, one for each pair of bins."""


def overlaps_of(boxes: Floats, others: Floats) -> Floats:
    """Return the intersection over union of pairs of boxes, [n]."""
    # By column: reductions over rows of two or four values take several times as long.
    (left, top, right, bottom), (left2, top2, right2, bottom2) = boxes.T, others.T
    width = np.minimum(right, right2) - np.maximum(left, left2)
    height = np.minimum(bottom, bottom2) - np.maximum(top, top2)
    both = width.clip(0) * height.clip(0)
    either = (right - left) * (bottom - top) + (right2 - left2) * (bottom2 - top2) - both
    shares: Floats = np.divide(both, either, out=np.zeros(len(both)), where=either > 0)
    return shares


def _size_bins(boxes: Floats, share: float) -> Integers:
    """Return the bins of widths and heights [n 2]: sides of partners differ by at most one bin."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], LEAST_SIDE)
    return np.floor(np.log(sides) / -math.log(share)).astype(np.int64)


def _steps(boxes: Floats, bins: Integers, share: float) -> Floats:
    """Return the middles of boxes in units of the squares of bins of sizes, [n 2].

    The middles of partners differ by at most (1 - share) of the greater side, which is at most two bins above the lower
    limit of the bin. Squares are twice as wide, so that partners lie in the nearest two.
    """
    sides = np.exp((bins + 2) * -math.log(share)) * (1 - share) * 2
    steps: Floats = (boxes[:, :2] + boxes[:, 2:]) / 2 / sides
    return steps


def _keys(numbers: Integers, sizes: Integers, squares: Integers) -> NDArray[np.uint64]:
    """Return keys by class, bins of sizes, row and column of the square."""
    keys = numbers.astype(np.uint64)
    for values, bits in ((sizes, SIZE_BITS), (squares[:, ::-1], SQUARE_BITS)):
        for each in values.T:
            keys = (keys << np.uint64(bits)) | (each & ((1 << bits) - 1)).astype(np.uint64)
    return keys
