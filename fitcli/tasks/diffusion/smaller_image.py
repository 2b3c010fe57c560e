"""Cuts a smaller version of an image into a window per group, and enlarges the windows to the patches of the groups.

The enlarged patches are those of `resampling.enlarge`. Windows are much smaller than the patches, so training
and generation keep windows, and enlarge a handful of them at a time on the device that computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.images.window import Window
from fitcli.patches.cutting import to_tensor
from fitcli.patches.resampling import REACH, enlarging_weights, shrink

Read = Callable[[Window], NDArray[np.float32]]
"""Returns the data [height width channels] of a window inside an image."""

BAND = 512
"""Approximate height in pixels of the parts of an image that are shrunk at once."""


def read_smaller(read: Read, window: Window, factor: int) -> NDArray[np.float32]:
    """Return the smaller version [height width channels] of a window of an image: the means of squares of pixels."""
    step = max(1, BAND // factor) * factor
    tops = range(window.top, window.bottom, step)
    bands = (Window(top, window.left, min(step, window.bottom - top), window.width) for top in tops)
    return np.concatenate([shrink(read(band), factor) for band in bands])


def with_surroundings(window: Window, size: tuple[int, int], factor: int) -> tuple[Window, tuple[int, int]]:
    """Return a window with the surroundings that its enlargement depends on, as far as they lie in the image.

    Args:
        window: Window of the image, in pixels.
        size: (height, width) of the image, in pixels.
        factor: Side of the image divided by that of its smaller version, whose pixels are aligned with the window.

    Returns:
        The larger window, and how many pixels of the smaller version it has above and left of the window.
    """
    above, left = min(REACH, window.top // factor), min(REACH, window.left // factor)
    below = _more(window.bottom, window.height, size[0], factor)
    right = _more(window.right, window.width, size[1], factor)
    whole = Window(
        window.top - above * factor,
        window.left - left * factor,
        window.height + (above + below) * factor,
        window.width + (left + right) * factor,
    )
    return whole, (above, left)


def _more(end: int, length: int, whole: int, factor: int) -> int:
    """Return the pixels of the smaller version after a stretch of the image; none follow a part of such a pixel."""
    return 0 if length % factor else min(REACH, (whole - end) // factor)


def group_windows(read: Read, size: tuple[int, int], places: Sequence[tuple[int, int]], side: int) -> Tensor:
    """Return the window of each group [g k k c], with `REACH` more pixels on each side: k is side + 2 * `REACH`.

    Args:
        read: Returns the data of a window of the smaller version.
        size: (height, width) of the smaller version. Its outermost pixels are repeated beyond its edges.
        places: (top, left) of the groups, in pixels of the smaller version.
        side: Side of a group, in pixels of the smaller version.
    """
    runs = [_run(read, size, top, left, count, side) for top, left, count in _runs(places, side)]
    return to_tensor(np.concatenate(runs))


def _runs(places: Sequence[tuple[int, int]], side: int) -> Iterator[tuple[int, int, int]]:
    """Yield (top, left, number of groups) of each run of neighbours in a row: they are read together."""
    start = 0
    for end in range(1, len(places) + 1):
        top, left = places[start]
        if end == len(places) or places[end] != (top, left + (end - start) * side):
            yield top, left, end - start
            start = end


def _run(read: Read, size: tuple[int, int], top: int, left: int, count: int, side: int) -> NDArray[np.float32]:
    rows = np.arange(top - REACH, top + side + REACH).clip(0, size[0] - 1)
    columns = np.arange(left - REACH, left + count * side + REACH).clip(0, size[1] - 1)
    first, last = (int(rows[0]), int(columns[0])), (int(rows[-1]) + 1, int(columns[-1]) + 1)
    pixels = read(Window(*first, last[0] - first[0], last[1] - first[1]))
    framed = pixels[rows - first[0]][:, columns - first[1]]
    starts = range(0, count * side, side)
    return np.stack([framed[:, start : start + side + 2 * REACH] for start in starts]).astype(np.float32, copy=False)


def enlarge_windows(windows: Tensor, factor: int, patch: int) -> Tensor:
    """Enlarge the windows [g k k c] of groups to their patches [g n p] as `resampling.enlarge` does."""
    weights = _weights(windows.shape[1] - 2 * REACH, factor, windows.device)
    tall = torch.einsum("sk,gklc->gslc", weights, windows)
    wide = torch.einsum("tl,gslc->gstc", weights, tall)
    return rearrange(wide, "g (i y) (j x) c -> g (i j) (y x c)", y=patch, x=patch)


def enlarged_part(windows: Tensor, factor: int, patch: int, device: torch.device, part: slice) -> Tensor:
    """Return the enlarged patches [part n p] of a slice of the groups, on a device."""
    return enlarge_windows(to_device(windows[part], device), factor, patch)


@cache
def _weights(side: int, factor: int, device: torch.device) -> Tensor:
    return to_tensor(enlarging_weights(side, factor)).to(device)
