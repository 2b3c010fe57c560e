"""Class maps of many shapes, and what is drawn back from polygons, independent of the code that traced them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.rings import Polygon
from fitcli.annotations.trace import Tracer

Map = NDArray[np.uint8]


def blobs(height: int, width: int, side: int, classes: int = 4, seed: int = 0) -> Map:
    """Smooth areas of about `side` cells: the class whose interpolated noise is highest."""
    rng = np.random.default_rng(seed)

    def stretched(values: NDArray[Any], size: int) -> NDArray[Any]:
        place = np.linspace(0, len(values) - 1, size)
        low = np.minimum(place.astype(int), len(values) - 2)
        part = (place - low)[:, None]
        return values[low] * (1 - part) + values[low + 1] * part

    noise = [rng.normal(size=(height // side + 2, width // side + 2)) for _ in range(classes)]
    return np.stack([stretched(stretched(one, height).T, width).T for one in noise]).argmax(0).astype(np.uint8)


def spiral(side: int) -> Map:
    """A snake one cell wide that winds to the middle, in the class 1 on the class 0."""
    cells = np.zeros((side, side), np.uint8)
    row, column, down, right = 0, 0, 0, 1
    cells[0, 0] = 1

    def is_free(row: int, column: int) -> bool:
        return not (0 <= row < side and 0 <= column < side) or not cells[row, column]

    for _ in range(4 * side):
        while 0 <= row + down < side and 0 <= column + right < side and is_free(row + 2 * down, column + 2 * right):
            if cells[row + down, column + right]:
                break
            row, column = row + down, column + right
            cells[row, column] = 1
        down, right = right, -down
    return cells


def comb(height: int, width: int, upwards: bool) -> Map:
    """Teeth one cell wide that are joined in the last row or in the first one."""
    cells = np.zeros((height, width), np.uint8)
    cells[:, ::2] = 1
    cells[-1 if upwards else 0] = 1
    return cells


def checkerboard(height: int, width: int) -> Map:
    return (np.indices((height, width)).sum(0) % 2).astype(np.uint8)


def noise(height: int, width: int, classes: int, seed: int = 0) -> Map:
    return np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)


def rings_in_rings(side: int) -> Map:
    """Squares in squares of two classes."""
    row, column = np.indices((side, side))
    return (np.minimum(np.minimum(row, side - 1 - row), np.minimum(column, side - 1 - column)) % 2).astype(np.uint8)


MAPS: dict[str, Callable[[], Map]] = {
    "noise of 2": lambda: noise(40, 31, 2),
    "noise of 5": lambda: noise(23, 40, 5),
    "sparse": lambda: np.where(noise(40, 40, 8) == 0, 1, 255).astype(np.uint8),
    "dense": lambda: np.where(noise(40, 40, 8) == 0, 255, 1).astype(np.uint8),
    "blobs": lambda: blobs(90, 70, 8),
    "checkerboard": lambda: checkerboard(9, 12),
    "comb up": lambda: comb(12, 15, True),
    "comb down": lambda: comb(12, 14, False),
    "spiral": lambda: spiral(21),
    "rings": lambda: rings_in_rings(13),
    "one cell": lambda: np.array([[3]], np.uint8),
    "one row": lambda: noise(1, 50, 3),
    "one column": lambda: noise(50, 1, 3),
    "nothing": lambda: np.full((7, 9), 255, np.uint8),
    "one class": lambda: np.full((7, 9), 2, np.uint8),
    "no rows": lambda: np.zeros((0, 5), np.uint8),
    "corners": lambda: np.array([[1, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]], np.uint8),
    "corner of two": lambda: np.array([[1, 0], [0, 1]], np.uint8),
    "joined below": lambda: np.array([[0, 1, 0, 1, 0], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]], np.uint8),
    "chain of holes": lambda: np.pad(np.eye(6, dtype=np.uint8), 1),
}
"""Maps by name."""


def traced(cells: Map, step: int, **options: Any) -> list[Polygon]:
    """Trace a map in strips of `step` rows."""
    tracer, polygons = Tracer(cells.shape[1], **options), []
    for first in range(0, len(cells), step):
        polygons += tracer.add(cells[first : first + step])
    return [*polygons, *tracer.finish()]


def comparable(polygons: Iterable[Polygon]) -> list[Any]:
    return [(polygon.number, polygon.area, [ring.tolist() for ring in polygon.rings]) for polygon in polygons]


def drawn(polygons: Iterable[Polygon], shape: tuple[int, int]) -> Map:
    """Draw polygons of whole coordinates by the even-odd rule, one after the other; 255 elsewhere.

    Raises:
        AssertionError: Two polygons overlap.
    """
    cells = np.full(shape, 255, np.uint8)
    for polygon in polygons:
        left, top = polygon.rings[0].min(axis=0)
        right, bottom = polygon.rings[0].max(axis=0)
        inside = np.zeros((bottom - top, right - left), np.bool_)
        for ring in polygon.rings:
            for (x, y), (after, below) in zip(ring[:-1] - (left, top), ring[1:] - (left, top), strict=True):
                if x == after:
                    inside[min(y, below) : max(y, below), x:] ^= True
        window = cells[top:bottom, left:right]
        assert (window[inside] == 255).all(), "two polygons overlap"
        window[inside] = polygon.number
    return cells
