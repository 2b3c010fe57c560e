"""The border between pixels (numpy) and patches (torch). Nothing else crosses it.

A patch is its pixels row by row, the channel fastest: value ((y * patch) + x) * channels + c. Groups follow each other
row by row over the image, patches row by row over their group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fitcli.images.base import ImageReader, Pixels
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from models.groups import Groups


def to_patches(pixels: NDArray[Any], grid: PatchGrid) -> Tensor:
    """Cut a whole image into the patches of its groups.

    Args:
        pixels: [height width channels] of the image that `grid` covers.
        grid: The arrangement.

    Returns:
        [g n p] of the dtype of the pixels. Beyond the edges the outermost pixels are repeated.

    Raises:
        ValueError: The pixels are not of the size that the grid is for.
    """
    if pixels.ndim != 3 or pixels.shape[:2] != grid.size:
        raise ValueError(f"a grid over {grid.size} cannot cut pixels {pixels.shape}")
    return cut(pad(pixels, *grid.padded), (grid.patch, grid.patch), (grid.group, grid.group))


def to_pixels(patches: Tensor, grid: PatchGrid) -> NDArray[Any]:
    """Put the patches [g n p] of all groups of an image together again: [height width channels], padding removed.

    Raises:
        ValueError: Not the number of groups, patches or values that the grid has.
    """
    groups, tokens, values = patches.shape
    if (groups, tokens, values % grid.patch**2) != (grid.count, grid.group**2, 0):
        raise ValueError(f"patches {list(patches.shape)} do not fill a grid of {grid.count} x {grid.group**2} patches")
    pixels = join(patches, (grid.patch, grid.patch), (grid.group, grid.group), grid.columns)
    return np.ascontiguousarray(pixels[: grid.size[0], : grid.size[1]])


def cut(pixels: NDArray[Any], patch: tuple[int, int], group: tuple[int, int]) -> Tensor:
    """Cut pixels [height width channels] that are whole groups into patches [g n p].

    Args:
        pixels: Of any dtype.
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
    """The inverse of `cut`: patches [g n p] of `columns` groups per row to pixels [height width channels]."""
    return rearrange(
        patches.cpu().numpy(),
        "(row column) (i j) (y x a) -> (row i y) (column j x) a",
        **{"column": columns, "i": group[0], "j": group[1], "y": patch[0], "x": patch[1]},
    )


def pad(pixels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Repeat the last row and column until the pixels are `height` x `width`."""
    below, right = height - pixels.shape[0], width - pixels.shape[1]
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), mode="edge") if below or right else pixels


def groups_of(grid: PatchGrid, coordinates: Iterable[tuple[int, int]] | None = None) -> Groups:
    """Describe groups of one image to a model.

    Args:
        grid: The arrangement over the image.
        coordinates: (row, column) of the groups that take part, in order; all where None.
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
    """[g n], True where a patch holds pixels; None where all do."""
    if all(grid.is_whole(row, column) for row, column in coordinates):
        return None
    filled = torch.tensor([grid.filled(row, column) for row, column in coordinates])
    steps = torch.arange(grid.group)
    rows, columns = steps < filled[:, :1], steps < filled[:, 1:]
    return rearrange(rows[:, :, None] & columns[:, None, :], "g i j -> g (i j)")


def normalize(patches: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Patches [... p] of any dtype to float32 values of about zero mean and unit variance.

    NaN and infinity (missing pixels of float images) become 0, the mean.

    Args:
        patches: As cut.
        mean, std: [channels] float32, in units of the pixels.
    """
    # Repeated: sums over an axis of three channels take ten times as long as those over a whole patch.
    pixels = patches.shape[-1] // len(mean)
    values = (patches.to(torch.float32) - mean.repeat(pixels)).div_(std.repeat(pixels))
    return values.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0) if patches.is_floating_point() else values


def to_unit(patches: Tensor, low: float, high: float) -> Tensor:
    """Patches of any dtype to float32 values in [0, 1], from black (`low`) to white (`high`).

    NaN (missing pixels of float images) becomes the middle; what lies beyond black and white becomes these.
    """
    return ((patches.to(torch.float32) - low) / (high - low)).nan_to_num(nan=0.5).clamp(0, 1)


def to_levels(patches: Tensor, limits: tuple[float, float], levels: int) -> Tensor:
    """Patches of any dtype to levels 0 ... `levels` - 1, int64, each for an equal share of the range.

    For uint8 and uint16 pixels the same as `levels.to_levels`; other pixels are divided between the limits (black,
    white).
    """
    if patches.dtype in (torch.uint8, torch.uint16):
        bits = torch.iinfo(patches.dtype).bits
        return (patches.to(torch.int64) * levels) >> bits
    return (to_unit(patches, *limits) * levels).to(torch.int64).clamp(max=levels - 1)


def read_patches(
    image: ImageReader,
    grid: PatchGrid,
    coordinates: Sequence[tuple[int, int]],
    convert: Callable[[Pixels], Pixels] = lambda pixels: pixels,
) -> Tensor:
    """Read groups of an open image and cut them into patches.

    Groups that follow each other in a row of the grid are read as one window.

    Args:
        image: Of the size that `grid` covers.
        grid: The arrangement.
        coordinates: (row, column) of the groups.
        convert: Applied to the pixels of each window.

    Returns:
        [g n p] of the dtype that `convert` gives. Beyond the edges the outermost pixels are repeated.
    """
    patch, group, side = (grid.patch, grid.patch), (grid.group, grid.group), grid.group_pixels
    parts = []
    for row, column, length in _runs(coordinates):
        window = Window(row * side, column * side, side, length * side)
        pixels = convert(image.read(window.clip(*grid.size)))
        parts.append(cut(pad(pixels, side, length * side), patch, group))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _runs(coordinates: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """(row, first column, number of groups) of each run of neighbours in a row."""
    start = 0
    for end in range(1, len(coordinates) + 1):
        row, column = coordinates[end - 1]
        if end == len(coordinates) or coordinates[end] != (row, column + 1):
            yield (*coordinates[start], end - start)
            start = end
