"""Presents a level of an image, with pixels of another size, as an image of its own. numpy only."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import ImageError, UnreadableAs
from fitcli.images.base import ImageInfo, ImageReader, Level, Pixels
from fitcli.images.missing import avoid_nodata, missing_mark, missing_pixels
from fitcli.images.window import Window

LARGEST_FACTOR = 256.0
"""Greatest ratio of pixel sizes, either way: beyond it, a scale is a mistake, and one pixel is the mean of millions."""

PIECE_VALUES = 1 << 20
"""Values that are resampled at a time."""

PIECE_BYTES = 48 * PIECE_VALUES
"""Memory that resampling takes: some copies of the values of a piece as 64-bit floats."""

LARGEST_FLOAT = float(np.finfo(np.float64).max)


class Taps(NamedTuple):
    """The source pixels of target pixels along one axis, and their weights.

    Attributes:
        pixels: Source pixels [k n] of n target pixels.
        weights: Their weights [k n], which sum to 1 over k.
    """

    pixels: NDArray[np.int64]
    weights: NDArray[np.float64]


class Rescaled(ImageReader):
    """Reads a level of another image and its smaller levels, in pixels of another size.

    A smaller image has the mean of the area under each pixel, a larger one is interpolated linearly. Missing pixels
    (see `fitcli.images.missing`) are left out; a pixel without any other stays missing. Each pixel follows from its
    place in the image alone, so windows fit together without a seam.

    Args:
        image: The image to read. It belongs to this reader, which closes it.
        level: Level of it that becomes level 0.
        factor: Side of the new pixels, in pixels of that level: above 1 for a smaller image; 1 keeps the pixels.
        nearest: Whether a pixel has the value at its centre, because values have no mean: indices.

    Raises:
        ImageError: There is no such level, or the factor is beyond `LARGEST_FACTOR`.
    """

    def __init__(self, image: ImageReader, level: int, factor: float = 1.0, nearest: bool = False) -> None:
        info = image.info
        if not 0 <= level < len(info.levels):
            raise ImageError(image.path, f"has no level {level}; its levels are 0 to {len(info.levels) - 1}")
        if not 1 / LARGEST_FACTOR <= factor <= LARGEST_FACTOR:
            raise UnreadableAs(
                image.path,
                f"its pixels cannot be made {factor:g} times as large, only up to {LARGEST_FACTOR:g} times as large or "
                "small; check the scale",
            )
        self.path, self.decoding_bytes = image.path, image.decoding_bytes
        self.choice = image.choice
        self.image, self.level, self.factor, self.nearest = image, level, factor, nearest
        self.info = _info(info, level, factor)

    def read(self, window: Window, level: int = 0) -> Pixels:
        if not 0 <= level < len(self.info.levels):
            raise ImageError(self.path, f"has no level {level}; its levels are 0 to {len(self.info.levels) - 1}")
        shown = self.info.levels[level]
        window = window.clip(shown.height, shown.width)
        if self.factor == 1:
            return self.image.read(window, self.level + level)
        pixels = np.empty((window.height, window.width, self.info.channels), self.info.dtype)
        for piece in self._pieces(window):
            pixels[piece.shift(-window.top, -window.left).slices()] = self._resampled(piece, level)
        return pixels

    def close(self) -> None:
        self.image.close()

    def _pieces(self, window: Window) -> Iterator[Window]:
        """Yield the parts of a window that are resampled at a time."""
        # Beyond its own side, a pixel takes a part of its neighbours.
        reach = max(self.factor, 1.0) + 2
        columns = max(1, int(PIECE_VALUES / self.info.channels / reach**2))
        columns = min(columns, max(window.width, 1))
        rows = max(1, int(PIECE_VALUES / self.info.channels / reach**2 / columns))
        for top in range(window.top, window.bottom, rows):
            for left in range(window.left, window.right, columns):
                yield Window(top, left, rows, columns).intersection(window)

    def _resampled(self, window: Window, level: int) -> Pixels:
        source, shown = self.image.info.levels[self.level + level], self.info.levels[level]
        pick = centres if self.nearest else taps
        rows = pick(source.height, shown.height, window.top, window.bottom)
        columns = pick(source.width, shown.width, window.left, window.right)
        top, left = int(rows.pixels.min()), int(columns.pixels.min())
        needed = Window(top, left, int(rows.pixels.max()) - top + 1, int(columns.pixels.max()) - left + 1)
        pixels = self.image.read(needed, self.level + level)
        if self.nearest:
            return np.ascontiguousarray(pixels[rows.pixels[0] - top][:, columns.pixels[0] - left])
        moved = rows._replace(pixels=rows.pixels - top), columns._replace(pixels=columns.pixels - left)
        return resample(pixels, *moved, self.info.nodata)


class StoredGrid(NamedTuple):
    """The pixels of an image as they are stored, beside those that are shown.

    Attributes:
        info: Description of the image as it is stored.
        rows, columns: Height and width of a pixel that is shown, in stored pixels of level 0.
    """

    info: ImageInfo
    rows: float
    columns: float


def stored_grid(image: ImageReader) -> StoredGrid:
    """Return how an image is stored whose pixels `image` shows as they are, or rescaled."""
    if not isinstance(image, Rescaled):
        return StoredGrid(image.info, 1.0, 1.0)
    inner = stored_grid(image.image)
    base = image.image.info.levels[image.level]
    rows, columns = base.height / image.info.height, base.width / image.info.width
    return StoredGrid(inner.info, rows * base.downsample * inner.rows, columns * base.downsample * inner.columns)


def _info(info: ImageInfo, level: int, factor: float) -> ImageInfo:
    """Return the description of a rescaled level of an image."""
    base = info.levels[level]
    levels = tuple(
        Level(_side(each.height, factor), _side(each.width, factor), each.downsample / base.downsample)
        for each in info.levels[level:]
    )
    size = levels[0].height, levels[0].width
    return dataclasses.replace(
        info,
        height=size[0],
        width=size[1],
        levels=levels,
        chunk=info.chunk and (_side(info.chunk[0], factor), _side(info.chunk[1], factor)),
        mpp=scale_after(info.mpp, (base.height, base.width), size, base.downsample),
        geo=info.geo and info.geo.resize(info.size, size),
        ngff_transform=info.ngff_transform and info.ngff_transform.resize(info.size, size),
        features=info.features and info.features.resize(scale_after(1.0, info.size, size) or 1.0),
    )


def scale_after(
    mpp: float | None, before: tuple[int, int], after: tuple[int, int], downsample: float = 1.0
) -> float | None:
    """Return the microns per pixel of an image that covers the same area in pixels of another size.

    Sizes are whole pixels, so this is not quite the scale that was asked for. The longer side, which is rounded least,
    decides.

    Args:
        mpp: Microns per pixel of level 0; None if unknown.
        before: (height, width) of the level that is resampled.
        after: (height, width) of the result.
        downsample: Level-0 pixels per pixel of the level.
    """
    longer = 0 if before[0] >= before[1] else 1
    # Equal sizes change no digit.
    return None if mpp is None else mpp * downsample * (before[longer] / after[longer])


def _side(pixels: int, factor: float) -> int:
    return max(1, round(pixels / factor))


def taps(source: int, target: int, start: int, stop: int) -> Taps:
    """Return the source pixels of the target pixels from `start` to `stop`, if `source` pixels become `target`."""
    return _areas(source, target, start, stop) if target < source else _neighbours(source, target, start, stop)


def centres(source: int, target: int, start: int, stop: int) -> Taps:
    """Return the source pixels at the centres of the target pixels from `start` to `stop`. See `taps`."""
    pixels = ((2 * np.arange(start, stop, dtype=np.int64) + 1) * source // (2 * target))[None]
    return Taps(pixels, np.ones(pixels.shape))


def _areas(source: int, target: int, start: int, stop: int) -> Taps:
    """Weigh source pixels by the part that lies in a target pixel. Integers are exact: in units of 1 / target."""
    # Counted from the first source pixel, the products of two sides fit into 64 bits.
    base, rest = divmod(start * source, target)
    low = rest + np.arange(stop - start, dtype=np.int64) * source
    high = low + source
    pixels = low // target + np.arange(-(-source // target) + 1)[:, None]
    overlap = np.minimum(high, (pixels + 1) * target) - np.maximum(low, pixels * target)
    return Taps((base + pixels).clip(0, source - 1), overlap.clip(0) / source)


def _neighbours(source: int, target: int, start: int, stop: int) -> Taps:
    """Weigh the two source pixels around the centre of a target pixel. The outermost pixels are repeated."""
    place = (np.arange(start, stop) + 0.5) * (source / target) - 0.5
    first = np.floor(place)
    weights = np.stack([first + 1 - place, place - first])
    return Taps(np.stack([first, first + 1]).astype(np.int64).clip(0, source - 1), weights)


def resample(pixels: Pixels, rows: Taps, columns: Taps, nodata: float | None) -> Pixels:
    """Return the weighted means [rows columns channels] of pixels [height width channels], in their dtype.

    A mean that happens to be the nodata value becomes the next value, see `avoid_nodata`.
    """
    missing = missing_pixels(pixels, nodata)
    if missing is None or not missing.any():
        return avoid_nodata(as_dtype(_means(pixels.astype(np.float64), rows, columns), pixels.dtype), nodata)
    sums = _means(np.where(missing, 0.0, pixels.astype(np.float64)), rows, columns)
    present = _means((~missing).astype(np.float64), rows, columns)
    # A pixel with nothing missing under it has the same bits as without the division.
    whole = _means(missing.astype(np.float64), rows, columns) == 0
    means = np.where(whole, sums, sums / np.where(present > 0, present, 1.0))
    mixed = avoid_nodata(as_dtype(means, pixels.dtype), nodata)
    return np.where(present > 0, mixed, missing_mark(nodata, pixels.dtype))


def _means(values: NDArray[np.float64], rows: Taps, columns: Taps) -> NDArray[np.float64]:
    """Weigh along both axes. The order of the sums depends on nothing but the tap."""
    height, width = rows.pixels.shape[1], columns.pixels.shape[1]
    tall = _weighted_sum(values, rows, 0, (height, *values.shape[1:]))
    # Rounding can lift a mean of the largest floats above them.
    tall.clip(-LARGEST_FLOAT, LARGEST_FLOAT, out=tall)
    return _weighted_sum(tall, columns, 1, (height, width, values.shape[2]))


def _weighted_sum(values: NDArray[np.float64], along: Taps, axis: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    total, part = np.zeros(shape), np.empty(shape)
    with np.errstate(over="ignore"):
        for pixel, weight in zip(*along, strict=True):
            # "clip" lets numpy write to `part` directly; no index is beyond the edge.
            np.take(values, pixel, axis, out=part, mode="clip")
            part *= weight[:, None, None] if axis == 0 else weight[:, None]
            total += part
    return total


def as_dtype(means: NDArray[np.float64], dtype: np.dtype[Any]) -> Pixels:
    """Convert to a dtype. Integers are rounded to the nearest, halves up, as in `pyramid.halve`."""
    if dtype == np.bool_:
        return means >= 0.5
    if dtype.kind == "f":
        # A mean lies between values of the dtype, but for the rounding of the weights.
        limit = np.finfo(dtype).max
        return means.clip(-limit, limit).astype(dtype)
    limits = np.iinfo(dtype)
    rounded = np.floor(means + 0.5)
    # 2^63 and 2^64 are floats, their predecessors are not.
    inside = np.where(rounded >= float(limits.max), 0.0, rounded.clip(limits.min)).astype(dtype)
    return np.where(rounded >= float(limits.max), dtype.type(limits.max), inside)
