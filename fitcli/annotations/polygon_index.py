"""Finds the polygons whose bounding boxes meet a rectangle, without looking at all of them."""

from __future__ import annotations

import numpy as np

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.packed_polygons import Numbers

BUCKET = 512
"""Boxes per bucket."""


class PolygonIndex:
    """Bounding boxes in buckets of neighbours of similar size, with a box around each bucket.

    Args:
        boxes: Boxes (left, top, right, bottom) [n 4].
    """

    def __init__(self, boxes: Floats) -> None:
        self._order = _neighbours_first(boxes)
        self._boxes = boxes[self._order]
        firsts = np.arange(0, len(boxes), BUCKET)
        self._around = np.concatenate(
            [np.minimum.reduceat(self._boxes[:, :2], firsts), np.maximum.reduceat(self._boxes[:, 2:], firsts)], axis=1
        )  # fmt: skip

    def bounds(self) -> tuple[float, float, float, float]:
        """Return the box (left, top, right, bottom) around all boxes."""
        left, top = self._around[:, :2].min(axis=0).tolist()
        right, bottom = self._around[:, 2:].max(axis=0).tolist()
        return left, top, right, bottom

    def query(self, left: float, top: float, right: float, bottom: float) -> Numbers:
        """Return the numbers of the boxes that meet a rectangle or touch it, ascending."""
        place = (left, top, right, bottom)
        buckets = _meeting(self._around, place)
        if not len(buckets):
            return buckets
        each = (buckets[:, None] * BUCKET + np.arange(BUCKET)).reshape(-1)
        each = each[: int(np.searchsorted(each, len(self._boxes)))]
        numbers: Numbers = self._order[each[_meeting(self._boxes[each], place)]]
        numbers.sort()
        return numbers


def _meeting(boxes: Floats, place: tuple[float, float, float, float]) -> Numbers:
    left, top, right, bottom = place
    found: Numbers = np.flatnonzero(
        (boxes[:, 0] <= right) & (boxes[:, 2] >= left) & (boxes[:, 1] <= bottom) & (boxes[:, 3] >= top)
    )
    return found


def _neighbours_first(boxes: Floats) -> Numbers:
    """Sort boxes by the power of two of their size, then along a Z-order curve through their centres."""
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    centres = (boxes[:, 2:] + boxes[:, :2]) / 2
    low = centres.min(axis=0)
    cells = ((centres - low) / np.maximum(np.ptp(centres, axis=0), 1e-300) * 65535).astype(np.int64)
    curve = _spread(cells[:, 0]) | _spread(cells[:, 1]) << 1
    sizes = np.frexp(np.maximum(sides, 1e-300))[1].astype(np.int64)
    order: Numbers = np.lexsort((curve, sizes))
    return order


def _spread(numbers: Numbers) -> Numbers:
    """Put a 0 before each of the 16 bits of the numbers."""
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        numbers = (numbers | numbers << shift) & mask
    return numbers
