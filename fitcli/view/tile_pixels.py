"""Reads the pixels of a tile with the readers of the product, in bounded memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader, Level, Pixels
from fitcli.images.missing import missing_mark, missing_pixels
from fitcli.images.rescaled import as_dtype
from fitcli.images.window import Window
from fitcli.view.tile_grid import TILE, TileGrid

STRIP_VALUES = 1 << 22
"""Values that are read at a time."""

MOST_PIXELS = 1 << 28
"""Most pixels that are read for a tile: of a file without a level that is small enough, larger parts are not shown."""

SLACK = 1.01
"""A level counts as fine enough if its pixels are larger by no more than this: sides of levels are rounded."""


class _Axis(NamedTuple):
    """The pixels of a level under those of a tile, along one axis.

    Attributes:
        edges: First pixel of the level of each pixel of the tile, and the end of the last one.
        middles: Pixel of the level in the middle of each pixel of the tile.
    """

    edges: NDArray[np.int64]
    middles: NDArray[np.int64]


def read_tile(image: ImageReader, level: int, column: int, row: int, nearest: bool = False) -> Pixels:
    """Return the pixels [height width channels] of a tile; at the lower and right edge it is smaller.

    Args:
        image: The open image.
        level, column, row: The tile, which exists.
        nearest: Whether a pixel has the value in its middle, for numbers of classes; otherwise the mean of its area.

    Raises:
        ImageError: The pixels cannot be read, or there are too many because the file has no small level.
    """
    grid = TileGrid(*image.info.size)
    step = grid.step(level)
    number = max(n for n, each in enumerate(image.info.levels) if n == 0 or each.downsample <= step * SLACK)
    stored = image.info.levels[number]
    rows = _axis(row, step, grid.height, stored.height)
    columns = _axis(column, step, grid.width, stored.width)
    if (rows.edges[-1] - rows.edges[0]) * (columns.edges[-1] - columns.edges[0]) > MOST_PIXELS:
        raise ImageError(image.path, "has no small level: zoom in to see this place")
    return np.concatenate(list(_strips(image, number, stored, rows, columns, nearest)))


def _strips(
    image: ImageReader, number: int, stored: Level, rows: _Axis, columns: _Axis, nearest: bool
) -> list[NDArray[Any]]:
    """Return the tile in strips, each read at once."""
    left, width = int(columns.edges[0]), int(columns.edges[-1] - columns.edges[0])
    each = max(1, int(rows.edges[-1] - rows.edges[0]) // len(rows.middles)) * width * image.info.channels
    at_once, strips = max(1, STRIP_VALUES // each), []
    for first in range(0, len(rows.middles), at_once):
        last = min(first + at_once, len(rows.middles))
        top, bottom = int(rows.edges[first]), int(rows.edges[last])
        pixels = image.read(Window(top, left, bottom - top, width), number)
        if nearest:
            strips.append(pixels[rows.middles[first:last] - top][:, columns.middles - left])
        elif pixels.shape[:2] == (last - first, len(columns.middles)):
            strips.append(pixels)
        else:
            areas = (rows.edges[first : last + 1] - top, columns.edges - left)
            strips.append(_means(pixels, *areas, image.info.nodata))
    return strips


def _axis(position: int, step: float, pixels: int, stored: int) -> _Axis:
    """Return the pixels of a level of `stored` pixels under the tile at a position along an axis."""
    first = position * TILE
    count = min(TILE, int(-(-pixels // step)) - first)
    ratio = step * stored / pixels
    edges = np.minimum(np.rint(np.arange(first, first + count + 1) * ratio).astype(np.int64), stored)
    # Each pixel of the tile has at least one of the level.
    edges[:-1] = np.minimum(edges[:-1], stored - 1)
    edges[1:] = np.maximum(edges[1:], edges[:-1] + 1)
    middles = np.floor((np.arange(first, first + count) + 0.5) * ratio).astype(np.int64)
    return _Axis(edges, middles.clip(edges[0], edges[-1] - 1))


def _means(pixels: Pixels, rows: NDArray[np.int64], columns: NDArray[np.int64], nodata: float | None) -> Pixels:
    """Return the means of areas between edges, without missing pixels, in the dtype of the pixels."""
    missing = missing_pixels(pixels, nodata)
    exact = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    if missing is None or not missing.any():
        areas = (np.diff(rows)[:, None] * np.diff(columns)[None, :])[..., None]
        return as_dtype((_sums(pixels.astype(exact), rows, columns) / areas).astype(np.float64), pixels.dtype)
    sums = _sums(np.where(missing, 0, pixels).astype(exact), rows, columns)
    present = _sums((~missing).astype(exact), rows, columns)
    means = as_dtype((sums / np.maximum(present, 1)).astype(np.float64), pixels.dtype)
    return np.where(present > 0, means, missing_mark(nodata, pixels.dtype))


def _sums(values: NDArray[Any], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[Any]:
    down: NDArray[Any] = np.add.reduceat(values, rows[:-1], axis=0)
    across: NDArray[Any] = np.add.reduceat(down, columns[:-1], axis=1)
    return across
