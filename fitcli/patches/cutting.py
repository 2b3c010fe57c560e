"""Cuts pixels (numpy) into patches (torch) and joins them again. No other module converts between the two.

The values of a patch are its pixels row by row, channels last: value ((y * patch) + x) * channels + c. Groups are
ordered row by row over the image, and patches row by row over their group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.patches.levels import has_whole_range
from fitcli.patches.preprocessing import Preprocessing
from models.groups import Groups


def to_patches(pixels: NDArray[Any], grid: PatchGrid) -> Tensor:
    """Cut a whole image into the patches of its groups.

    Args:
        pixels: Pixels [height width channels] of the image.
        grid: Grid over the image.

    Returns:
        Patches [g n p] in the dtype of the pixels. The outermost pixels are repeated beyond the edges.

    Raises:
        ValueError: The size of the pixels is not that of the grid.
    """
    if pixels.ndim != 3 or pixels.shape[:2] != grid.size:
        raise ValueError(f"a grid over {grid.size} cannot cut pixels {pixels.shape}")
    return cut(pad(pixels, *grid.padded), (grid.patch, grid.patch), (grid.group, grid.group))


def to_pixels(patches: Tensor, grid: PatchGrid) -> NDArray[Any]:
    """Join the patches [g n p] of all groups of an image into pixels [height width channels], without padding.

    Raises:
        ValueError: The number of groups, patches or values is not that of the grid.
    """
    groups, tokens, values = patches.shape
    if (groups, tokens, values % grid.patch**2) != (grid.count, grid.group**2, 0):
        raise ValueError(f"patches {list(patches.shape)} do not fill a grid of {grid.count} x {grid.group**2} patches")
    pixels = join(patches, (grid.patch, grid.patch), (grid.group, grid.group), grid.columns)
    return np.ascontiguousarray(pixels[: grid.size[0], : grid.size[1]])


def cut(pixels: NDArray[Any], patch: tuple[int, int], group: tuple[int, int]) -> Tensor:
    """Cut pixels [height width channels] into patches [g n p].

    Args:
        pixels: Whole groups of pixels of any dtype.
        patch: (height, width) of a patch in pixels.
        group: (rows, columns) of patches in a group.

    Raises:
        ValueError: The pixels are not whole groups.
    """
    height, width = patch[0] * group[0], patch[1] * group[1]
    if pixels.shape[0] % height or pixels.shape[1] % width:
        raise ValueError(f"pixels {pixels.shape} are not whole groups of {height} x {width}")
    patches = rearrange(
        pixels,
        "(row i y) (column j x) a -> (row column) (i j) (y x a)",
        **{"i": group[0], "j": group[1], "y": patch[0], "x": patch[1]},
    )
    return torch.from_numpy(np.ascontiguousarray(patches))


def join(patches: Tensor, patch: tuple[int, int], group: tuple[int, int], columns: int) -> NDArray[Any]:
    """Invert `cut`: join patches [g n p] with `columns` groups per row into pixels [height width channels]."""
    return rearrange(
        patches.cpu().numpy(),
        "(row column) (i j) (y x a) -> (row i y) (column j x) a",
        **{"column": columns, "i": group[0], "j": group[1], "y": patch[0], "x": patch[1]},
    )


def to_tensor(values: NDArray[np.float32]) -> Tensor:
    """Return values that are no patches of whole groups as a tensor, without a copy."""
    return torch.from_numpy(values)


def pad(pixels: NDArray[Any], height: int, width: int, fill: int | None = None) -> NDArray[Any]:
    """Extend pixels to `height` x `width`: repeat the last row and column, or put `fill` there."""
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    if not (below or right):
        return pixels
    widths = (0, below), (0, right), (0, 0)
    return np.pad(pixels, widths, mode="edge") if fill is None else np.pad(pixels, widths, constant_values=fill)


def groups_of(grid: PatchGrid, coordinates: Iterable[tuple[int, int]] | None = None) -> Groups:
    """Return groups of one image in the form that a model takes.

    Args:
        grid: Grid over the image.
        coordinates: (row, column) of the groups, in order; None for all groups.
    """
    chosen = list(grid.coordinates() if coordinates is None else coordinates)
    places = torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2)
    return Groups(
        coordinates=places,
        number=places[:, 0] * grid.columns + places[:, 1],
        mask=_masks(grid, chosen),
        slot=None,
        images=1,
        longest=len(chosen),
    )


def _masks(grid: PatchGrid, coordinates: list[tuple[int, int]]) -> Tensor | None:
    """Return the mask [g n], True for patches that hold pixels; None if all do."""
    if all(grid.is_whole(row, column) for row, column in coordinates):
        return None
    filled = torch.tensor([grid.filled(row, column) for row, column in coordinates])
    steps = torch.arange(grid.group)
    rows, columns = steps < filled[:, :1], steps < filled[:, 1:]
    return rearrange(rows[:, :, None] & columns[:, None, :], "g i j -> g (i j)")


WIDE = (torch.int32, torch.uint32, torch.int64, torch.float64)
"""Dtypes whose values float32 rounds. It would lose the variation of counts around 1e9."""


def statistics(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation [channels] of the training pixels on a device, for `normalize`."""
    exact = _exact(getattr(torch, preprocessing.dtype), device)
    mean, std = (torch.tensor(values, dtype=exact) for values in (preprocessing.mean, preprocessing.std))
    return to_device(mean, device), to_device(std, device)


def _exact(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype in which pixels are scaled. MPS devices have no float64."""
    return torch.float64 if dtype in WIDE and device.type != "mps" else torch.float32


def normalize(patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Scale patches [... p] of any dtype to float32 values with about zero mean and unit variance.

    NaN and infinity become 0, which is the mean.

    Args:
        patches: Patches as `cut` returns them.
        mean, std: Statistics per channel [channels], in units of the pixels, see `statistics`. The arithmetic has their
            dtype.
    """
    # Repeated to a whole patch: over an axis of three channels the arithmetic takes ten times as long.
    pixels = patches.shape[-1] // len(mean)
    values = (patches.to(mean.dtype) - mean.repeat(pixels)).div_(std.repeat(pixels)).to(torch.float32)
    return values.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0) if patches.is_floating_point() else values


def to_unit(patches: Tensor, low: float, high: float) -> Tensor:
    """Scale patches of any dtype to float32 values in [0, 1], from black (`low`) to white (`high`).

    NaN becomes 0.5. Values beyond black and white are clipped.
    """
    values = (patches.to(_exact(patches.dtype, patches.device)) - low) / (high - low)
    return values.to(torch.float32).nan_to_num(nan=0.5).clamp(0, 1)


def patches_to_levels(patches: Tensor, limits: tuple[float, float], levels: int) -> Tensor:
    """Quantise patches of any dtype to levels 0 ... `levels` - 1, int64. Each level covers an equal part of the range.

    The range is `limits` (black, white), but for uint8 pixels that of their dtype, as in `levels.to_levels`.
    """
    bits = {torch.uint8: 8, torch.uint16: 16}.get(patches.dtype)
    if bits is not None and has_whole_range(f"uint{bits}", limits):
        return (patches.to(torch.int64) * levels) >> bits
    return (to_unit(patches, *limits) * levels).to(torch.int64).clamp(max=levels - 1)


def read_patches(
    image: ImageReader,
    grid: PatchGrid,
    coordinates: Sequence[tuple[int, int]],
    convert: Callable[[Pixels], Pixels] = lambda pixels: pixels,
    fill: int | None = None,
) -> Tensor:
    """Read groups of an open image and cut them into patches.

    Consecutive groups of a row of the grid are read as one window.

    Args:
        image: The open image.
        grid: Grid over the image.
        coordinates: (row, column) of the groups.
        convert: Function that is applied to the pixels of each window.
        fill: Value beyond the edges of the image; None to repeat the outermost pixels.

    Returns:
        Patches [g n p] in the dtype that `convert` returns.
    """
    parts = [
        _cut_run(convert(image.read(window.clip(*grid.size))), window, grid, fill)
        for window in _windows(grid, coordinates)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def read_marked_patches(
    image: ImageReader, grid: PatchGrid, coordinates: Sequence[tuple[int, int]], preprocessing: Preprocessing
) -> tuple[Tensor, Tensor | None]:
    """Read groups of an open image as `read_patches` does, converted for a model, and mark what is missing.

    Returns:
        Patches [g n p], and which of their values are missing [g n p] bool; None if none are.
    """
    parts, marks, some = [], [], False
    for window in _windows(grid, coordinates):
        pixels, missing = preprocessing.convert_filled(image.read(window.clip(*grid.size)), image.info)
        some = some or (missing is not None and bool(missing.any()))
        parts.append(_cut_run(pixels, window, grid))
        marks.append(_cut_run(np.zeros(pixels.shape, bool) if missing is None else missing, window, grid))
    return torch.cat(parts), torch.cat(marks) if some else None


def _windows(grid: PatchGrid, coordinates: Sequence[tuple[int, int]]) -> Iterator[Window]:
    """Yield the window of each run of neighbours in a row. It may reach beyond the image."""
    side = grid.group_pixels
    for row, column, length in _runs(coordinates):
        yield Window(row * side, column * side, side, length * side)


def _cut_run(pixels: NDArray[Any], window: Window, grid: PatchGrid, fill: int | None = None) -> Tensor:
    return cut(pad(pixels, window.height, window.width, fill), (grid.patch, grid.patch), (grid.group, grid.group))


def _runs(coordinates: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (row, first column, number of groups) of each run of neighbours in a row."""
    start = 0
    for end in range(1, len(coordinates) + 1):
        row, column = coordinates[end - 1]
        if end == len(coordinates) or coordinates[end] != (row, column + 1):
            yield (*coordinates[start], end - start)
            start = end
