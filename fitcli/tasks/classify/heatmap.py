"""Draws the evidence per patch: as a small picture over the image, or as a layer at full resolution."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.layer import create_layer, layer_info
from fitcli.images.missing import missing_pixels
from fitcli.images.open import create_image
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.classify.classify_image import Classification
from fitcli.tasks.classify.evidence import visible_sides

LONGEST_SIDE = 1600
"""Largest side of a picture, in pixels."""

GLOW = 0.006
"""Standard deviation of the blur of evidence in a picture, as a share of the longest side of the picture."""

STRIP_PIXELS, CAREFUL = 2**22, 4
"""Number of pixels that are read, averaged or written at a time, and divisor for pixels that may be missing or wide."""

FEW_CHANNELS = 16
"""Channels up to which a strip has so many pixels; strips of images with more channels have as many values."""

SHOWN = 160
"""Grey of places with features in a picture, 0 to 255."""

PLACE_PIXELS = 16
"""Most pixels per side of a place of features in a picture."""

STRIP_BYTES, VIEW_BYTES, WIDE_BYTES = 33, 108, 24
"""Bytes per pixel of a strip beside those that are read, and of a picture: of most images, and more where pixels may be
missing or are wide."""

MISSING_BYTES = 8
"""Bytes per pixel beside those that are read, while missing pixels are looked for."""

LAYER_ROWS, MOST_LAYER_BYTES = 1024, 192 << 20
"""Rows of incomplete chunks that the writer of a layer keeps, over all levels of its pyramid, and their most bytes."""

WRITER_BYTES = 4 << 20
"""Bytes that the writers take for an image of any size."""

COLORS = np.array([[0, 0, 0], [70, 0, 90], [190, 25, 80], [250, 120, 20], [255, 220, 60], [255, 255, 230]], np.float32)
"""Colours from no evidence to the most, in equal steps. They rise from dark to light, so that grey prints work too."""


def write_heatmap(path: Path, image: ImageReader, result: Classification) -> None:
    """Write a heat map of the evidence of a classification.

    A `.tif`, `.ome.tif` or `.zarr` file becomes a layer with the size and the scale of the image, and a pyramid. Over
    features it lies over their slide (see `fitcli/images/layer.py`). Its single channel holds the evidence per area
    relative to the strongest patch, from 0 to 255. Other formats become a picture of at most `LONGEST_SIDE` pixels per
    side: the image in grey, with the evidence in colour. Patches whose pixels are all missing have no evidence, and
    missing pixels are dark.

    Raises:
        ImageError: The file cannot be written, or the image cannot be read.
        ValueError: The classification kept no evidence.
    """
    strength = _without_missing(relative_evidence(result), image, result.grid)
    if path.suffix.lower() in (".tif", ".tiff", ".zarr"):
        _write_layer(path, image.info, strength, result.grid)
        return
    picture = overlay(image, strength, result.grid)
    info = ImageInfo(height=picture.shape[0], width=picture.shape[1], channels=3, dtype=picture.dtype, color=True)
    with create_image(path, info) as canvas:
        canvas.write(Window(0, 0, info.height, info.width), picture)


def heatmap_bytes(path: Path, info: ImageInfo, patch: int) -> int:
    """Return roughly how much memory `write_heatmap` takes, in bytes."""
    patches = -(-info.height // patch) * -(-info.width // patch)
    view, read = _View.of(info), info.channels * info.dtype.itemsize
    if path.suffix.lower() in (".tif", ".tiff", ".zarr"):
        width = layer_info(info).width
        drawing = 3 * min(STRIP_PIXELS, info.height * width) + min(LAYER_ROWS * width, MOST_LAYER_BYTES)
        if view.careful:
            # Missing pixels are looked for, strip by strip.
            marks = MISSING_BYTES + 2 * info.channels * (info.channels > FEW_CHANNELS)
            drawing += (read + marks) * min(_careful_pixels(info.channels), info.height * info.width)
    else:
        pixel = STRIP_BYTES + read
        shown = VIEW_BYTES + WIDE_BYTES * view.careful
        drawing = max(pixel * view.rows * view.width, shown * view.height * view.width // view.step**2)
    return 6 * 4 * patches + drawing + WRITER_BYTES


def relative_evidence(result: Classification) -> NDArray[np.float32]:
    """Return the evidence of each patch per visible area, relative to the strongest patch, [rows columns] in 0 ... 1.

    Raises:
        ValueError: The classification kept no evidence.
    """
    if result.evidence is None:
        raise ValueError("classify with keep_evidence=True to draw a heat map")
    grid = result.grid
    evidence = np.zeros((grid.rows, grid.columns, grid.group, grid.group), np.float32)
    rows, columns = np.array(result.places).T
    evidence[rows, columns] = result.evidence.reshape(-1, grid.group, grid.group)
    height, width = (-(-side // grid.patch) for side in grid.size)
    patches = evidence.swapaxes(1, 2).reshape(grid.rows * grid.group, grid.columns * grid.group)[:height, :width]
    heights, widths = visible_sides(grid)
    density: NDArray[np.float32] = patches / (heights[:height, None] * widths[:width])
    density /= np.maximum(density.max(), np.finfo(np.float32).tiny)
    return density


def _without_missing(strength: NDArray[np.float32], image: ImageReader, grid: PatchGrid) -> NDArray[np.float32]:
    """Return relative evidence [rows columns] that is 0 where all pixels of a patch are missing.

    It reads the smallest level at which a patch still has two pixels per side.
    """
    info = image.info
    if info.nodata is None and info.dtype.kind != "f":
        return strength
    level = max(number for number, each in enumerate(info.levels) if number == 0 or each.downsample <= grid.patch / 2)
    stored, present = info.levels[level], np.zeros(strength.shape, np.float32)
    edges = [_first_pixels(count, grid.patch / stored.downsample, side) for count, side in
             zip(strength.shape, (stored.height, stored.width), strict=True)]  # fmt: skip
    at_once = max(1, int(_careful_pixels(info.channels) * stored.downsample / (stored.width * grid.patch)))
    for first in range(0, strength.shape[0], at_once):
        rows = edges[0][first : first + at_once]
        stop = edges[0][first + at_once] if first + at_once < strength.shape[0] else stored.height
        pixels = image.read(Window(int(rows[0]), 0, int(stop - rows[0]), stored.width), level)
        missing = missing_pixels(pixels, info.nodata)
        some = np.ones(pixels.shape[:2], bool) if missing is None else ~missing.all(axis=-1)
        present[first : first + at_once] = np.logical_or.reduceat(
            np.logical_or.reduceat(some, rows - rows[0], axis=0), edges[1], axis=1
        )
    left: NDArray[np.float32] = strength * present
    return np.asarray(left / np.maximum(left.max(), np.finfo(np.float32).tiny), np.float32)


def _careful_pixels(channels: int) -> int:
    """Return the number of pixels that are read at a time where some may be missing."""
    return STRIP_PIXELS // CAREFUL * FEW_CHANNELS // max(channels, FEW_CHANNELS)


def _first_pixels(patches: int, side: float, length: int) -> NDArray[np.int64]:
    """Return the first pixel of each patch along an axis of `length` pixels of a level."""
    return np.minimum((np.arange(patches) * side).astype(np.int64), length - 1)


def overlay(image: ImageReader, strength: NDArray[np.float32], grid: PatchGrid) -> NDArray[np.uint8]:
    """Draw the image in grey with the evidence in colour, [height width 3], at most `LONGEST_SIDE` pixels per side.

    Args:
        image: The open image.
        strength: [rows columns] in 0 ... 1, see `relative_evidence`.
        grid: Groups and patches over the image.
    """
    view = _view(image)
    height, width = view.shape[:2]
    # A pixel of the view shows the strongest of its patches: averages would hide small marks.
    rows, columns = _bins(grid.size[0], height, grid.patch), _bins(grid.size[1], width, grid.patch)
    heat = _strongest(_strongest(strength, rows, 0), columns, 1)
    reach = GLOW * max(height, width)
    # The root shows weak evidence next to the strongest: shares differ by orders of magnitude.
    heat = np.sqrt(heat if grid.patch * height / grid.size[0] >= 3 * reach else _glow(heat, reach))
    color = _colors(heat)
    grey = view.mean(axis=-1, keepdims=True) * 0.75 + 40
    alpha = np.clip(heat * 1.3 - 0.05, 0, 0.85)[..., None]
    blended: NDArray[np.float32] = grey * (1 - alpha) + color * alpha
    return np.rint(blended).astype(np.uint8)


def _bins(pixels: int, shown: int, patch: int) -> list[slice]:
    """Return the patches that each pixel of a view covers, along an axis of `pixels` shown as `shown` pixels."""
    edges = [position * pixels / shown for position in range(shown + 1)]
    last = -(-pixels // patch)
    return [
        slice(min(int(low // patch), last - 1), max(min(int(-(-high // patch)), last), int(low // patch) + 1))
        for low, high in pairwise(edges)
    ]


def _strongest(strength: NDArray[np.float32], bins: list[slice], axis: int) -> NDArray[np.float32]:
    return np.stack([strength.take(range(b.start, b.stop), axis).max(axis) for b in bins], axis)


def _glow(heat: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """Blur the evidence, so that a single patch is visible in the whole picture, and scale it to 0 ... 1 again."""
    rows, columns = (_gaussian(side, reach) for side in heat.shape)
    spread = np.asarray(rows @ heat @ columns, np.float32)
    strongest = np.maximum(spread.max(), np.finfo(np.float32).tiny)
    return np.asarray(spread / strongest, np.float32)


def _gaussian(side: int, reach: float) -> NDArray[np.float32]:
    """Return the weights [side side] of a blur along an axis, with a standard deviation of `reach` pixels."""
    positions = np.arange(side, dtype=np.float32)
    return np.asarray(np.exp(-0.5 * ((positions[:, None] - positions) / max(reach, 0.3)) ** 2), np.float32)


def _colors(heat: NDArray[np.float32]) -> NDArray[np.float32]:
    stops = np.linspace(0, 1, len(COLORS))
    return np.stack([np.interp(heat, stops, COLORS[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class _View:
    """The rows of an image that a picture of at most `LONGEST_SIDE` pixels per side is made of.

    Attributes:
        level: Level that is read.
        width, height: Size of the part of the level that is shown, in pixels.
        step: Pixels per side of the level that become one pixel of the picture.
        rows: Rows of the level that are read at a time.
        careful: Whether pixels may be missing, or are wide.
    """

    level: int
    width: int
    height: int
    step: int
    rows: int
    careful: bool

    @classmethod
    def of(cls, info: ImageInfo) -> _View:
        """Return the view of an image."""
        shrink = max(1.0, max(info.size) / LONGEST_SIDE)
        level = max(number for number, level in enumerate(info.levels) if level.downsample <= shrink * 1.01)
        shown = info.levels[level]
        step = max(1, -(-max(shown.height, shown.width) // LONGEST_SIDE))
        careful = info.nodata is not None or info.dtype.kind == "f" or info.dtype.itemsize > 2
        # Whole steps only: an incomplete step at the lower edge would become a row of its own.
        height = max(step, shown.height // step * step)
        pixels = _careful_pixels(info.channels) if careful else STRIP_PIXELS
        rows = max(step, pixels // shown.width // step * step)
        return cls(level, shown.width, height, step, min(rows, height), careful)


def _view(image: ImageReader) -> NDArray[np.float32]:
    """Return the image with at most `LONGEST_SIDE` pixels per side, as values in 0 ... 255."""
    view, nodata = _View.of(image.info), image.info.nodata
    strips = [
        _mean(_shown(image, Window(top, 0, min(view.rows, view.height - top), view.width), view.level), view.step,
              nodata)
        for top in range(0, view.height, view.rows)
    ]  # fmt: skip
    values = np.concatenate(strips)
    if image.info.features is None:
        return _bytes(values)
    enlarged = max(1, min(PLACE_PIXELS, LONGEST_SIDE // max(values.shape)))
    grey = np.nan_to_num(values).astype(np.float32).repeat(enlarged, 0).repeat(enlarged, 1)
    return np.asarray(grey)


def _shown(image: ImageReader, window: Window, level: int) -> Pixels:
    """Return what a picture shows of a window: the first three channels, or where there are features."""
    pixels = image.read(window, level)
    if image.info.features is None:
        return pixels[..., :3]
    return np.where(np.isfinite(pixels).any(axis=-1, keepdims=True), np.float32(SHOWN), np.float32(0))


def _mean(pixels: Pixels, step: int, nodata: float | None) -> NDArray[Any]:
    """Return the means of step x step pixels, without missing ones; NaN if all are missing.

    Incomplete steps at the edges are dropped, unless there is no other.
    """
    height, width = max(1, pixels.shape[0] // step), max(1, pixels.shape[1] // step)
    whole = pixels[: height * step, : width * step]
    missing = missing_pixels(whole, nodata)
    # float32 would round counts and offsets away.
    exact = np.float64 if whole.dtype.itemsize > 2 else np.float32
    # The division comes first because sums of large floats could overflow.
    if missing is None or not missing.any():
        return _means(whole.astype(exact), step)[:height, :width]
    share = _means((~missing).astype(exact), step)
    means: NDArray[Any] = _means(np.where(missing, 0, whole).astype(exact), step) / np.where(share > 0, share, np.nan)
    return means[:height, :width]


def _means(values: NDArray[Any], step: int) -> NDArray[Any]:
    """Return the means of step x step values, in their dtype."""
    rows = np.add.reduceat(values / values.dtype.type(step**2), range(0, values.shape[0], step), 0)
    means: NDArray[Any] = np.add.reduceat(rows, range(0, values.shape[1], step), 1)
    return means


def _bytes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Stretch the middle 98 % of the values to 0 ... 255. Values that are not finite become 0.

    If the middle values are all equal, all values are stretched: thin strokes on plain ground would be lost otherwise.
    """
    finite = pixels[np.isfinite(pixels)].astype(np.float64)
    if not finite.size:
        return np.zeros(pixels.shape, np.float32)
    low, high = np.percentile(finite, [1, 99])
    if low == high:
        low, high = finite.min(), finite.max()
    stretched = np.clip(np.nan_to_num(pixels, nan=low, posinf=low, neginf=low), low, high) - low
    return np.asarray(stretched / (high - low or 1) * 255, np.float32)


def _write_layer(path: Path, info: ImageInfo, strength: NDArray[np.float32], grid: PatchGrid) -> None:
    values = np.rint(strength * 255).astype(np.uint8)
    layer = ImageInfo(
        height=info.height, width=info.width, channels=1, dtype=values.dtype, mpp=info.mpp, geo=info.geo,
        features=info.features,
    )  # fmt: skip
    rows = max(1, STRIP_PIXELS // (info.width * grid.patch))
    with create_layer(path, layer) as canvas:
        for first in range(0, values.shape[0], rows):
            strip = values[first : first + rows].repeat(grid.patch, 0).repeat(grid.patch, 1)[..., None]
            window = Window(first * grid.patch, 0, strip.shape[0], strip.shape[1]).clip(*info.size)
            canvas.write(window, np.ascontiguousarray(strip[: window.height, : window.width]))
