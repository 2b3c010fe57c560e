"""Presents planes of a stored level as a level of its own: some of its channels, or the projection of a stack.

A projection is computed chunk by chunk, and plane by plane, so that its memory does not grow with the planes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.chunks import MAX_CHUNK_BYTES, ChunkGrid, ChunkKey
from fitcli.images.missing import avoid_nodata, missing_mark, missing_pixels, nodata_value
from fitcli.images.rescaled import as_dtype
from fitcli.images.window import Window

SUM_BYTES = 24
"""Memory of a projection per value: its sum or maximum, the number of planes with a value, and temporary arrays."""

BAND_VALUES = 1 << 18
"""Values of chunks that are not compressed are projected this many at a time."""


class PlaneSubset(ChunkGrid):
    """Some of the planes of a grid, in any order.

    Args:
        grid: The stored level.
        planes: Numbers of its planes.
    """

    def __init__(self, grid: ChunkGrid, planes: Sequence[int]) -> None:
        _copy_layout(self, grid, len(planes))
        self._grid, self._planes = grid, planes

    def decode(self, key: ChunkKey) -> Pixels:
        return self._grid.decode(self._stored(key))

    def decode_transient(self, key: ChunkKey) -> Pixels:
        return self._grid.decode_transient(self._stored(key))

    def copy_part(self, key: ChunkKey, part: Window, target: Pixels) -> None:
        self._grid.copy_part(self._stored(key), part, target)

    def _stored(self, key: ChunkKey) -> ChunkKey:
        return self._planes[key[0]], key[1], key[2]


class FocalStack(ABC):
    """A level of an image with several focal planes.

    Attributes:
        grid: The level with one focal plane, which describes all.
    """

    grid: ChunkGrid

    @abstractmethod
    def chunks(self, key: ChunkKey) -> Iterator[Pixels]:
        """Yield a chunk of each focal plane; an array is valid until the next."""

    def parts(self, key: ChunkKey, part: Window) -> Iterator[Pixels]:
        """Yield a part of a chunk of each focal plane; an array is valid until the next."""
        return (chunk[part.slices()] for chunk in self.chunks(key))


class PagedStack(FocalStack):
    """A stack whose focal planes are stored one after the other, as planes of one grid.

    Args:
        grid: All planes; those of a focal plane follow each other.
        focal_planes: Their number.
    """

    def __init__(self, grid: ChunkGrid, focal_planes: int) -> None:
        self._stored = grid
        self._planes = -(-grid.channels // grid.plane_channels) // focal_planes
        self._focal_planes = focal_planes
        self.grid = PlaneSubset(grid, range(self._planes))

    def chunks(self, key: ChunkKey) -> Iterator[Pixels]:
        plane, row, column = key
        for number in range(self._focal_planes):
            yield self._stored.decode_transient((number * self._planes + plane, row, column))

    def parts(self, key: ChunkKey, part: Window) -> Iterator[Pixels]:
        plane, row, column = key
        buffer = np.empty((part.height, part.width, self._stored.plane_channels), self._stored.dtype)
        for number in range(self._focal_planes):
            self._stored.copy_part((number * self._planes + plane, row, column), part, buffer)
            yield buffer


class ProjectedGrid(ChunkGrid):
    """The largest or the mean value of all focal planes, at each pixel and channel. Missing pixels are left out.

    Args:
        stack: The focal planes.
        projection: "max" or "mean".
        nodata: Value of missing pixels; None without one.
        inverted: Converts stored to shown values if these are the inverse; else None.
        path: The file, for messages.

    Raises:
        ImageError: The chunks are too large to be projected.
    """

    def __init__(
        self,
        stack: FocalStack,
        projection: str,
        nodata: float | None,
        path: Path,
        inverted: Callable[[Pixels], Pixels] | None = None,
    ) -> None:
        grid = stack.grid
        _copy_layout(self, grid, -(-grid.channels // grid.plane_channels))
        self.channels = grid.channels
        self._stack, self._nodata, self._inverted = stack, nodata, inverted
        self._kind: type[_Maximum] | type[_Mean] = _Maximum if projection == "max" else _Mean
        values = self.chunk[0] * self.chunk[1] * self.plane_channels
        if not self.raw and values * SUM_BYTES > MAX_CHUNK_BYTES:
            raise ImageError(
                path,
                f"is stored in chunks of {self.chunk[0]} x {self.chunk[1]} pixels, too large for --z {projection}; "
                "convert it to chunks of 512 x 512 pixels",
            )

    def decode(self, key: ChunkKey) -> Pixels:
        return self._projected(self._stack.chunks(key))

    def copy_part(self, key: ChunkKey, part: Window, target: Pixels) -> None:
        rows = max(BAND_VALUES // (part.width * self.plane_channels), 1)
        for top in range(0, part.height, rows):
            band = Window(part.top + top, part.left, min(rows, part.height - top), part.width)
            target[top : top + band.height] = self._projected(self._stack.parts(key, band))

    def _projected(self, planes: Iterator[Pixels]) -> Pixels:
        total: _Maximum | _Mean | None = None
        for pixels in planes:
            shown = pixels if self._inverted is None else self._inverted(pixels.copy())
            total = total or self._kind(shown.shape, self.dtype, self._nodata)
            total.add(shown)
        assert total is not None
        return total.result()


class _Projection:
    """Values of some planes, projected.

    Args:
        shape: Shape of a plane.
        dtype: Dtype of the planes.
        nodata: Value of missing pixels; None without one.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], nodata: float | None) -> None:
        self._dtype, self._nodata = dtype, nodata
        self._count: NDArray[np.int32] | None = None
        if dtype.kind == "f" or nodata_value(nodata, dtype) is not None:
            self._count = np.zeros(shape, np.int32)

    def _present(self, pixels: Pixels) -> NDArray[np.bool_] | None:
        """Count the values that are not missing, and return which; None if none can be missing."""
        missing = missing_pixels(pixels, self._nodata)
        if missing is None or self._count is None:
            return None
        self._count += ~missing
        return ~missing

    def _with_missing(self, pixels: Pixels) -> Pixels:
        """Mark the pixels that are missing in all planes."""
        if self._count is None:
            return pixels
        return np.where(self._count > 0, pixels, missing_mark(self._nodata, self._dtype))


class _Maximum(_Projection):
    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], nodata: float | None) -> None:
        super().__init__(shape, dtype, nodata)
        least = -np.inf if dtype.kind == "f" else 0 if dtype.kind == "b" else np.iinfo(dtype).min
        self._largest: Pixels = np.full(shape, least, dtype)

    def add(self, pixels: Pixels) -> None:
        present = self._present(pixels)
        np.maximum(self._largest, pixels, out=self._largest, where=True if present is None else present)

    def result(self) -> Pixels:
        return self._with_missing(self._largest)


class _Mean(_Projection):
    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], nodata: float | None) -> None:
        super().__init__(shape, dtype, nodata)
        self._sum = np.zeros(shape, np.float64)
        self._planes = 0

    def add(self, pixels: Pixels) -> None:
        present = self._present(pixels)
        self._planes += 1
        with np.errstate(over="ignore", invalid="ignore"):
            np.add(self._sum, pixels, out=self._sum, where=True if present is None else present)

    def result(self) -> Pixels:
        count = self._planes if self._count is None else np.maximum(self._count, 1)
        means = avoid_nodata(as_dtype(self._sum / count, self._dtype), self._nodata)
        return self._with_missing(means)


@dataclass(frozen=True, slots=True)
class Picked:
    """Takes some channels of pixels.

    Attributes:
        numbers: The channels.
        finish: A conversion of the pixels before; None without one.
    """

    numbers: tuple[int, ...]
    finish: Callable[[Pixels], Pixels] | None = None

    def __call__(self, pixels: Pixels) -> Pixels:
        shown = pixels if self.finish is None else self.finish(pixels)
        return shown[:, :, list(self.numbers)]


def subset_of(grid: ChunkGrid, channels: Sequence[int]) -> tuple[ChunkGrid, list[int]]:
    """Return the planes of a grid that hold some channels, and the numbers of these channels in them."""
    size = grid.plane_channels
    planes = list(dict.fromkeys(number // size for number in channels))
    where = {plane: at for at, plane in enumerate(planes)}
    numbers = [where[number // size] * size + number % size for number in channels]
    if planes == list(range(-(-grid.channels // size))):
        return grid, numbers
    return PlaneSubset(grid, planes), numbers


def _copy_layout(target: ChunkGrid, grid: ChunkGrid, planes: int) -> None:
    target.height, target.width, target.dtype, target.chunk = grid.height, grid.width, grid.dtype, grid.chunk
    target.plane_channels, target.channels = grid.plane_channels, planes * grid.plane_channels
    target.interleaved = grid.interleaved if grid.plane_channels > 1 else planes == 1
    target.raw, target.sequential = grid.raw, grid.sequential
