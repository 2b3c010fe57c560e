"""Polygons packed into a few arrays: a million of them take as much memory as their coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import AffineMap, Floats

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PackedPolygons:
    """Polygons in their order. A polygon is an outline and its holes, each a closed ring of points.

    Attributes:
        points: Points (x, y) [p 2] of all rings, one ring after the other. The last point of a ring is its first.
        ring_starts: Index of the first point of each ring, and `p` at the end.
        polygon_starts: Index of the first ring of each polygon, and the number of rings at the end.
    """

    points: Floats
    ring_starts: Numbers
    polygon_starts: Numbers

    def __len__(self) -> int:
        return len(self.polygon_starts) - 1

    @property
    def point_starts(self) -> Numbers:
        """Index of the first point of each polygon, and `p` at the end."""
        starts: Numbers = self.ring_starts[self.polygon_starts]
        return starts

    def take(self, numbers: Numbers) -> PackedPolygons:
        """Return a copy of some polygons, in the order of their numbers."""
        rings = concatenated_ranges(self.polygon_starts[numbers], self.polygon_starts[numbers + 1])
        points = concatenated_ranges(self.ring_starts[rings], self.ring_starts[rings + 1])
        return PackedPolygons(
            # The default mode checks each index twice.
            self.points.take(points, axis=0, mode="clip"),
            starts_of(self.ring_starts[rings + 1] - self.ring_starts[rings]),
            starts_of(self.polygon_starts[numbers + 1] - self.polygon_starts[numbers]),
        )

    def mapped(self, where: AffineMap) -> PackedPolygons:
        """Return the polygons in other coordinates."""
        return PackedPolygons(where.apply(self.points), self.ring_starts, self.polygon_starts)

    def boxes(self) -> Floats:
        """Return the bounding boxes (left, top, right, bottom) [n 4]; `top` is the smallest y."""
        if not len(self):
            return np.empty((0, 4))
        starts = self.point_starts[:-1]
        low, high = np.minimum.reduceat(self.points, starts), np.maximum.reduceat(self.points, starts)
        return np.concatenate([low, high], axis=1)


def starts_of(lengths: Numbers) -> Numbers:
    """Return the start of each of some stretches that follow each other, and the end of the last one."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def concatenated_ranges(starts: Numbers, stops: Numbers) -> Numbers:
    """Return the integers from each start to its stop, one range after the other."""
    lengths = stops - starts
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Numbers = np.arange(total) + np.repeat(starts - ends + lengths, lengths)
    return numbers
