"""Traces a class map to polygons, strip by strip.

A part is a set of cells of one class that are connected through their sides. Its rings run along the borders of cells,
so that neighbours share exactly the same border. Each ring is simple: no vertex occurs twice in it, and none lies on a
straight line between its neighbours. Where two cells of a part touch at a corner alone, an outer ring and a hole, or
two holes, meet at this point, which is valid in the sense of OGC Simple Feature Access (JTS, Shapely, GEOS).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.open_parts import OpenParts
from fitcli.annotations.rings import Polygon, trace_parts
from fitcli.annotations.runs import UNTRACED

CELLS_AT_ONCE = 2**18
"""A strip with more cells is traced in several: this bounds the memory for intermediate results."""


class Tracer:
    """Turns a class map that arrives from top to bottom into polygons.

    Polygons come in the order of their last row, then of their first cell in reading order. They do not depend on the
    heights of the strips.

    Memory: about 12 bytes per horizontal edge of the parts that reach into the last row so far, and intermediate
    results for `CELLS_AT_ONCE` cells. A single part that spans the map keeps all of its edges until its last row: they
    are one polygon.

    Args:
        width: Cells in a row.
        scale: Pixels on the side of a cell.
        size: (height, width) of the image in pixels: cells at the lower and right border end there. None: the cells
            end on whole cells.
        untraced: Classes that are not traced, in addition to `UNTRACED`.
        min_area: Parts with a smaller area, in pixels, are left out.

    Raises:
        ValueError: The width, scale or size is impossible, or the last cells of a row lie outside of the image.
    """

    def __init__(
        self,
        width: int,
        scale: float = 1,
        size: tuple[int, int] | None = None,
        untraced: Collection[int] = (),
        min_area: float = 0,
    ) -> None:
        if width < 1 or not scale > 0 or (size is not None and min(size) < 1):
            raise ValueError(f"a class map cannot have {width} columns, cells of {scale} pixels and the size {size}")
        if size is not None and (width - 1) * scale >= size[1]:
            raise ValueError(f"{width} columns of cells of {scale} pixels are too many for {size[1]} pixels")
        self._width, self._size, self._min_area = width, size, min_area
        self._scale = int(scale) if float(scale).is_integer() else scale
        self._classes = np.arange(256, dtype=np.uint8)
        self._classes[list(untraced)] = UNTRACED
        self._row = 0
        self._open = OpenParts(width)

    def add(self, strip: NDArray[np.uint8]) -> Iterator[Polygon]:
        """Trace the next rows [rows, width]. Go through all of the polygons before you add more.

        Raises:
            ValueError: The strip has another width, another type, or rows outside of the image.
        """
        if strip.ndim != 2 or strip.shape[1] != self._width or strip.dtype != np.uint8:
            raise ValueError(f"a strip of {strip.dtype} {strip.shape} does not fit into a map of {self._width} columns")
        rows = self._row + len(strip)
        if self._size is not None and (rows - 1) * self._scale >= self._size[0]:
            raise ValueError(f"{rows} rows of cells of {self._scale} pixels are too many for {self._size[0]} pixels")
        step = max(1, CELLS_AT_ONCE // self._width)
        for first in range(0, len(strip), step):
            yield from self._add(self._classes[strip[first : first + step]])

    def finish(self) -> Iterator[Polygon]:
        """Trace the parts that reach into the last row. Nothing can be added afterwards."""
        yield from self._add(np.full((1, self._width), UNTRACED, np.uint8))

    def _add(self, rows: NDArray[np.uint8]) -> Iterator[Polygon]:
        self._row += len(rows)
        return trace_parts(self._open.add(rows), self._corner, self._min_area)

    def _corner(self, columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
        """Return the pixel coordinates [points, 2] (x, y) of corners of cells."""
        points = np.stack([columns, rows], axis=-1).astype(np.int64) * self._scale
        return points if self._size is None else np.minimum(points, self._size[::-1])


def trace_map(cells: NDArray[np.uint8], **options: Any) -> Iterator[Polygon]:
    """Trace a whole map [rows, columns], see `Tracer` for the options."""
    tracer = Tracer(cells.shape[1], **options)
    yield from tracer.add(cells)
    yield from tracer.finish()
