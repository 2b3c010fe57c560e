"""Draws the values of patches: as a small picture over the image with a legend, or as a layer at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
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
from fitcli.tasks.classify.color_scale import CONTRIBUTION, EVIDENCE, ColorScale
from fitcli.tasks.classify.legend import legend, legend_size
from fitcli.tasks.classify.patch_map import FEW_CHANNELS, contribution_map, evidence_map, present_patches

LAYERS = (".tif", ".tiff", ".zarr")
"""Suffixes of layers; other heat maps are pictures."""

LONGEST_SIDE = 1600
"""Largest side of the image in a picture, in pixels."""

SMALLEST = 0.005
"""Smallest side of a patch in a picture, as a share of the longest side of the picture."""

STRIP_PIXELS, CAREFUL = 2**22, 4
"""Number of values that are read, averaged or written at a time, and divisor for pixels that may be missing or wide."""

FEATURE_GREY = 160
"""Grey of places with features in a picture, 0 to 255."""

PLACE_PIXELS = 16
"""Most pixels per side of a place of features in a picture."""

STRIP_BYTES, VIEW_BYTES, WIDE_BYTES = 33, 108, 24
"""Bytes per pixel of a strip beside those that are read, and of a picture: of most images, and more where pixels may be
missing or are wide."""

MISSING_BYTES = 8
"""Bytes per pixel beside those that are read, while missing pixels are looked for."""

VALUE_BYTES, MAPS = 4, 5
"""Bytes of a value, and values per patch that are in memory beside those that are drawn."""

LAYER_ROWS, MOST_LAYER_BYTES = 1024, 192 << 20
"""Rows of incomplete chunks that the writer of a layer keeps, over all levels of its pyramid, and their most bytes."""

WRITER_BYTES = 4 << 20
"""Bytes that the writers take for an image of any size."""

SHOWN = 10.0
"""Largest value that viewers of a layer show at first, where the format can say so."""


def write_heatmap(
    path: Path, image: ImageReader, result: Classification, classes: Sequence[str] = (), target: str | None = None
) -> None:
    """Write a heat map of the evidence of a classification, or of what patches contribute to the logits of classes.

    `patch_map.py` says what the values are. A `.tif`, `.ome.tif` or `.zarr` file becomes a layer in float32 with the
    size and the scale of the image, and a pyramid; it has a channel for each class. Over features it lies over their
    slide (see `fitcli/images/layer.py`). Other formats become a picture with at most `LONGEST_SIDE` pixels per side:
    the image in grey with the values in colours of a fixed scale, and a legend below. Places without a value are NaN in
    a layer, and hatched grey in a picture, where missing pixels are dark.

    Args:
        path: The file.
        image: The open image.
        result: Its classification.
        classes: The classes; none for the evidence. A picture shows one.
        target: Name of the target, for the legend; None if there is only one.

    Raises:
        ImageError: The file cannot be written, or the image cannot be read.
        ValueError: The classification kept no evidence, or not these contributions; or there are several classes for a
            picture.
    """
    maps = [contribution_map(result, name) for name in classes] or [evidence_map(result)]
    present = present_patches(image, result.grid)
    if present is not None:
        for values in maps:
            values[~present] = np.nan
    title, scale = heatmap_title(classes, target), CONTRIBUTION if classes else EVIDENCE
    if path.suffix.lower() in LAYERS:
        layer = image.info.layer(
            len(maps),
            np.float32,
            nodata=float("nan"),
            channel_names=tuple(classes) or ("evidence",),
            shown=(-SHOWN if classes else 0.0, SHOWN),
        )
        _write_layer(path, layer, maps, title, result.grid)
        return
    if len(maps) > 1:
        raise ValueError(f"a picture shows one class, not {len(maps)}; write one for each, or a layer")
    picture = with_legend(overlay(image, maps[0], result.grid, scale), title, scale)
    info = ImageInfo(height=picture.shape[0], width=picture.shape[1], channels=3, dtype=picture.dtype, color=True)
    with create_image(path, info, description=title) as canvas:
        canvas.write(Window(0, 0, info.height, info.width), picture)


def heatmap_title(classes: Sequence[str], target: str | None) -> str:
    """Return what a heat map shows, with its unit and its scale, as one line."""
    of = "" if target is None else f" for {target}"
    if not classes:
        return f"Evidence{of}: {EVIDENCE.unit}"
    return f"Contribution to {', '.join(classes)}{of}: {CONTRIBUTION.unit}"


def heatmap_bytes(path: Path, info: ImageInfo, patch: int, classes: int = 0) -> int:
    """Return roughly how much memory `write_heatmap` takes, in bytes, beside the values of the classification.

    Args:
        path: The file.
        info: Description of the image.
        patch: Pixels per side of a patch.
        classes: Number of classes whose contributions are drawn; 0 for the evidence.
    """
    patches = -(-info.height // patch) * -(-info.width // patch)
    view, read, maps = _View.of(info), info.channels * info.dtype.itemsize, max(1, classes)
    if path.suffix.lower() in LAYERS:
        value = maps * VALUE_BYTES
        # A strip has a row of patches at least.
        width = layer_info(info).width
        strip = max(STRIP_PIXELS // maps, min(patch, info.height) * width)
        drawing = 3 * value * min(strip, info.height * width)
        drawing += min(LAYER_ROWS * width * value, MOST_LAYER_BYTES)
        if view.careful:
            # Missing pixels are looked for, strip by strip.
            marks = MISSING_BYTES + 2 * info.channels * (info.channels > FEW_CHANNELS)
            drawing += (read + marks) * min(_careful_pixels(info.channels), info.height * info.width)
    else:
        pixel = STRIP_BYTES + read
        shown = VIEW_BYTES + WIDE_BYTES * view.careful
        height, width = legend_size(view.width // view.step)
        drawing = max(pixel * view.rows * view.width, shown * view.height * view.width // view.step**2)
        drawing += 3 * (height * width + height * view.width // view.step)
    return (MAPS + maps) * VALUE_BYTES * patches + drawing + WRITER_BYTES


def kept_bytes(info: ImageInfo, patch: int, classes: int = 0) -> int:
    """Return how much memory the values of a classification take, in bytes; see `heatmap_bytes`."""
    return VALUE_BYTES * max(1, classes) * -(-info.height // patch) * -(-info.width // patch)


def overlay(
    image: ImageReader,
    values: NDArray[np.float32],
    grid: PatchGrid,
    scale: ColorScale = EVIDENCE,
    longest: int = LONGEST_SIDE,
) -> NDArray[np.uint8]:
    """Draw the image in grey with values in colour, [height width 3].

    Args:
        image: The open image.
        values: [rows columns] on the grid of patches; NaN where there is no colour.
        grid: Groups and patches over the image.
        scale: Colours of the values.
        longest: Largest side of the picture, in pixels.
    """
    view = _view(image, longest)
    height, width = view.shape[:2]
    # A pixel of the view shows the strongest of its patches: averages would hide small marks.
    rows, columns = _bins(grid.size[0], height, grid.patch), _bins(grid.size[1], width, grid.patch)
    drawn = _strongest(_strongest(values, rows, 0), columns, 1)
    missing = SMALLEST * max(height, width) - grid.patch * height / grid.size[0]
    drawn = _enlarged(drawn, max(0, round(missing / 2)))
    grey = view.mean(axis=-1, keepdims=True) * 0.75 + 40
    return np.rint(scale.blend(grey, drawn)).astype(np.uint8)


def with_legend(picture: NDArray[np.uint8], title: str, scale: ColorScale) -> NDArray[np.uint8]:
    """Return a picture [height width 3] with its legend below; where the legend is wider, the rest is black."""
    below = legend(picture.shape[1], title, scale)
    whole = np.zeros((picture.shape[0] + below.shape[0], below.shape[1], 3), np.uint8)
    whole[: picture.shape[0], : picture.shape[1]] = picture
    whole[picture.shape[0] :] = below
    return whole


def _bins(pixels: int, shown: int, patch: int) -> list[slice]:
    """Return the patches that each pixel of a view covers, along an axis of `pixels` shown as `shown` pixels."""
    edges = [position * pixels / shown for position in range(shown + 1)]
    last = -(-pixels // patch)
    return [
        slice(min(int(low // patch), last - 1), max(min(int(-(-high // patch)), last), int(low // patch) + 1))
        for low, high in pairwise(edges)
    ]


def _strongest(values: NDArray[np.float32], bins: list[slice], axis: int) -> NDArray[np.float32]:
    """Return the value of each bin that is farthest from 0; NaN for a bin without any other."""
    each = [values.take(range(b.start, b.stop), axis) for b in bins]
    return np.stack([_farther(np.fmax.reduce(part, axis), np.fmin.reduce(part, axis)) for part in each], axis)


def _farther(high: NDArray[np.float32], low: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return whichever of the largest and the smallest value is farther from 0."""
    return np.where(-low > high, low, high)


def _enlarged(values: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    """Let each value cover the pixels at a distance of at most `by`, so that a single patch is seen.

    Where several do, the farthest from 0 counts.
    """
    for axis in (0, 1):
        high, low = values.copy(), values.copy()
        for step in range(1, by + 1):
            for near, far in ((slice(step, None), slice(None, -step)), (slice(None, -step), slice(step, None))):
                to, source = (near, far) if axis == 0 else ((slice(None), near), (slice(None), far))
                np.fmax(high[to], values[source], out=high[to])
                np.fmin(low[to], values[source], out=low[to])
        values = _farther(high, low)
    return values


@dataclass(frozen=True, slots=True)
class _View:
    """The rows of an image that a picture is made of.

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
    def of(cls, info: ImageInfo, longest: int = LONGEST_SIDE) -> _View:
        """Return the view of an image with at most `longest` pixels per side."""
        shrink = max(1.0, max(info.size) / longest)
        level = max(number for number, level in enumerate(info.levels) if level.downsample <= shrink * 1.01)
        shown = info.levels[level]
        step = max(1, -(-max(shown.height, shown.width) // longest))
        careful = info.nodata is not None or info.dtype.kind == "f" or info.dtype.itemsize > 2
        # Whole steps only: an incomplete step at the lower edge would become a row of its own.
        height = max(step, shown.height // step * step)
        pixels = _careful_pixels(info.channels) if careful else STRIP_PIXELS
        rows = max(step, pixels // shown.width // step * step)
        return cls(level, shown.width, height, step, min(rows, height), careful)


def _view(image: ImageReader, longest: int = LONGEST_SIDE) -> NDArray[np.float32]:
    """Return the image with at most `longest` pixels per side, as values in 0 ... 255."""
    view, nodata = _View.of(image.info, longest), image.info.nodata
    strips = [
        _mean(_shown(image, Window(top, 0, min(view.rows, view.height - top), view.width), view.level), view.step,
              nodata)
        for top in range(0, view.height, view.rows)
    ]  # fmt: skip
    values = np.concatenate(strips)
    if image.info.features is None:
        return _bytes(values)
    enlarged = max(1, min(PLACE_PIXELS, longest // max(values.shape)))
    grey = np.nan_to_num(values).astype(np.float32).repeat(enlarged, 0).repeat(enlarged, 1)
    return np.asarray(grey)


def _shown(image: ImageReader, window: Window, level: int) -> Pixels:
    """Return what a picture shows of a window: the first three channels, or where there are features."""
    pixels = image.read(window, level)
    if image.info.features is None:
        return pixels[..., :3]
    return np.where(np.isfinite(pixels).any(axis=-1, keepdims=True), np.float32(FEATURE_GREY), np.float32(0))


def _careful_pixels(channels: int) -> int:
    """Return the number of pixels that are read at a time where some may be missing."""
    return STRIP_PIXELS // CAREFUL * FEW_CHANNELS // max(channels, FEW_CHANNELS)


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


def _write_layer(
    path: Path, layer: ImageInfo, maps: Sequence[NDArray[np.float32]], title: str, grid: PatchGrid
) -> None:
    rows = max(1, STRIP_PIXELS // (layer.width * grid.patch * len(maps)))
    with create_layer(path, layer, outside=float("nan"), description=title) as canvas:
        for first in range(0, maps[0].shape[0], rows):
            strip = np.stack([values[first : first + rows] for values in maps], axis=-1)
            strip = strip.repeat(grid.patch, 0).repeat(grid.patch, 1)
            window = Window(first * grid.patch, 0, strip.shape[0], strip.shape[1]).clip(*layer.size)
            canvas.write(window, np.ascontiguousarray(strip[: window.height, : window.width]))
