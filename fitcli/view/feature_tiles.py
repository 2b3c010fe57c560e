"""Cuts polygons and objects into tiles for a canvas: simplified to a pixel of the screen, and bounded in number.

What is smaller than a few pixels of a level is a dot. Dots of one class in one pixel are one dot, so that a tile of a
million objects is as small as a picture of them, and nothing disappears. Beyond a number of outlines the smallest
become dots, too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import AffineMap
from fitcli.annotations.packed_polygons import PackedPolygons
from fitcli.annotations.polygon_index import PolygonIndex
from fitcli.view.feature_file import ViewedFeatures
from fitcli.view.tile_grid import TILE, TileGrid

PARTS = 4
"""Coordinates are whole numbers of this many per pixel of a level."""

SMALL = 3.0
"""Shapes of fewer pixels of a level per side are dots."""

MOST_OUTLINES, MOST_POINTS = 3000, 100_000
"""Most outlines of a tile, and points of them."""

MANY_DOTS, COARSE = 10_000, 2
"""Dots of a tile above which dots of one class in a square of so many pixels per side are one: a dot is as large."""

MARGIN = 8
"""Pixels around a tile in which outlines count: lines have a width, and marks of points a size."""


class FeatureTiles:
    """The tiles of the shapes of a layer.

    Args:
        features: The shapes.
        size: (height, width) of the image.
    """

    def __init__(self, features: ViewedFeatures, size: tuple[int, int]) -> None:
        self.features, self.grid = features, TileGrid(*size)
        self._boxes = features.shapes.boxes()
        self._index = PolygonIndex(self._boxes) if len(self._boxes) else None
        self._sides = (self._boxes[:, 2:] - self._boxes[:, :2]).max(axis=1) if len(self._boxes) else np.empty(0)

    def tile(self, level: int, column: int, row: int) -> dict[str, Any]:
        """Return a tile as JSON data.

        Returns:
            `count`, the shapes that meet the tile; `dotted`, those of them that are outlines at a higher level and dots
            here because there are too many; `dots`, `points` and `outlines` of each class, as [class, numbers] with the
            coordinates x, y, x, y, ... in quarters of a pixel from the upper left corner; of outlines a list of rings.
        """
        step = self.grid.step(level)
        left, top = column * TILE * step, row * TILE * step
        reach, side = MARGIN * step, TILE * step
        if self._index is None:
            return {"count": 0, "dotted": 0, "dots": [], "points": [], "outlines": []}
        found = self._index.query(left - reach, top - reach, left + side + reach, top + side + reach)
        sides = self._sides[found]
        large = found[sides >= SMALL * step]
        points = found[sides == 0]
        small = found[(sides > 0) & (sides < SMALL * step)]
        kept = self._affordable(large)
        dotted = np.setdiff1d(large, kept) if len(kept) < len(large) else large[:0]
        if len(points) > MOST_OUTLINES:
            small, points = np.concatenate([small, points]), points[:0]
        where = AffineMap(a=PARTS / step, c=-left * PARTS / step, e=PARTS / step, f=-top * PARTS / step)
        return {
            "count": len(found),
            "dotted": len(dotted),
            "dots": self._dots(np.concatenate([small, dotted]), where),
            "points": self._points(points, where),
            "outlines": self._outlines(kept, where),
        }

    def _affordable(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the largest shapes that a tile may have, in the order of the file."""
        if len(numbers) <= MOST_OUTLINES:
            return numbers
        largest = np.argsort(-self._sides[numbers], kind="stable")[:MOST_OUTLINES]
        return np.sort(numbers[largest])

    def _dots(self, numbers: NDArray[np.int64], where: AffineMap) -> list[list[Any]]:
        """Return the pixels of the middles, each once per class; of many, one in a square of `COARSE` pixels."""
        if not len(numbers):
            return []
        middles = (self._boxes[numbers, :2] + self._boxes[numbers, 2:]) / 2
        places = np.floor(where.apply(middles) / PARTS).astype(np.int64).clip(-MARGIN, TILE + MARGIN - 1) + MARGIN
        classes = self.features.classes[numbers].astype(np.int64)
        for side in (1, COARSE):
            reach = (TILE + 2 * MARGIN) // side
            codes = np.unique((classes * reach + places[:, 1] // side) * reach + places[:, 0] // side)
            if len(codes) <= MANY_DOTS:
                break
        kinds, squares = np.divmod(codes, reach * reach)
        xy = ((np.stack([squares % reach, squares // reach], axis=1) + 0.5) * side - MARGIN) * PARTS
        whole = xy.astype(np.int64)
        return [[int(kind), whole[kinds == kind].reshape(-1).tolist()] for kind in np.unique(kinds)]

    def _points(self, numbers: NDArray[np.int64], where: AffineMap) -> list[list[Any]]:
        if not len(numbers):
            return []
        xy = np.rint(where.apply(self._boxes[numbers, :2])).astype(np.int64)
        classes = self.features.classes[numbers]
        return [[int(kind), xy[classes == kind].reshape(-1).tolist()] for kind in np.unique(classes)]

    def _outlines(self, numbers: NDArray[np.int64], where: AffineMap) -> list[list[Any]]:
        if not len(numbers):
            return []
        rings = _simplified(self.features.shapes.take(numbers), where)
        classes = self.features.classes[numbers]
        found: dict[int, list[list[list[int]]]] = {}
        each = [rings.points[start:stop].reshape(-1).tolist() for start, stop in pairwise(rings.starts.tolist())]
        for kind, (start, stop) in zip(classes.tolist(), pairwise(rings.shapes.tolist()), strict=True):
            found.setdefault(kind, []).append(each[start:stop])
        return [[kind, shapes] for kind, shapes in sorted(found.items())]


class _Rings(NamedTuple):
    """Simplified rings: points [p 2], the first point of each ring, and the first ring of each shape."""

    points: NDArray[np.int32]
    starts: NDArray[np.int64]
    shapes: NDArray[np.int64]


def _simplified(shapes: PackedPolygons, where: AffineMap) -> _Rings:
    """Return shapes in coordinates of a tile, without the points that make no difference there.

    Points in the same place as the one before are left out, and those between two points on the same side of the tile.
    Of a tile with too many points, each place counts that is a pixel away from the one before.
    """
    exact = where.apply(shapes.points)
    keep = np.ones(len(exact), np.bool_)
    for coarse in (1, PARTS, 4 * PARTS):
        keep = _changes(exact, shapes.ring_starts, coarse) & _on_tile(exact, shapes.ring_starts)
        if np.count_nonzero(keep) <= MOST_POINTS:
            break
    points = np.rint(exact[keep]).clip(-1e9, 1e9).astype(np.int32)
    counts = np.add.reduceat(keep.astype(np.int64), shapes.ring_starts[:-1])
    starts = np.concatenate([[0], np.cumsum(counts)])
    return _Rings(points, starts, shapes.polygon_starts)


def _changes(points: NDArray[np.float64], starts: NDArray[np.int64], coarse: int) -> NDArray[np.bool_]:
    """Return which points lie in another place than the one before, rounded to `coarse`; the ends of rings do."""
    places = np.rint(points / coarse)
    moved = np.ones(len(points), np.bool_)
    moved[1:] = (places[1:] != places[:-1]).any(axis=1)
    moved[starts[:-1]] = True
    moved[starts[1:] - 1] = True
    return moved


def _on_tile(points: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which points are on a tile, or begin or end a run of points on one side of it."""
    low, high = -MARGIN * PARTS, (TILE + MARGIN) * PARTS
    x, y = points[:, 0], points[:, 1]
    # One side each, so that the points between the ends of a run lie with them in a half-plane off the tile.
    side = np.select([x < low, x > high, y < low, y > high], [1, 2, 3, 4], 0)
    inner = np.zeros(len(points), np.bool_)
    inner[1:-1] = (side[1:-1] > 0) & (side[1:-1] == side[:-2]) & (side[1:-1] == side[2:])
    inner[starts[:-1]] = False
    inner[starts[1:] - 1] = False
    return ~inner
