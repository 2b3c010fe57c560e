"""Reads the features of patches that `fit embed --patches` writes as an image of features.

The zarr group holds `patches` [g n c] and `coordinates` [g 2] (row and column of the group), and attributes with the
size of the image, the side of a patch in pixels and of a group in patches.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.chunks import MAX_CHANNELS, ChunkGrid, ChunkKey
from fitcli.images.feature_grid import FeatureGrid, stated_mpp
from fitcli.images.zarr.chunks import Coordinates

PATCHES, COORDINATES = "patches", "coordinates"
"""Names of the arrays."""

LATENTS = "latents"
"""Name of an array that all files of features of fit have."""

MOST_GROUPS, MOST_SIDE, MOST_PLACES = 1 << 22, 1 << 31, 1 << 26
"""Largest number of groups, pixels per side of an image, and places."""

KEPT_CHUNKS = 2
"""Stored chunks that are kept: each holds many groups, which are read one after the other."""


class StoredArray(NamedTuple):
    """An array of a zarr group: its shape, dtype and chunks, and the function that fetches a chunk or None."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    fetch: Callable[[Coordinates], Pixels | None]


class EmbeddedPatches(ChunkGrid):
    """The places of an image by groups; groups without features are NaN.

    Args:
        size: (rows, columns) of places.
        group: Places per side of a group.
        patches: The array of the features.
        numbers: Number of each group in the array, by (row, column).
    """

    def __init__(
        self, size: tuple[int, int], group: int, patches: StoredArray, numbers: Mapping[tuple[int, int], int]
    ) -> None:
        self.height, self.width = size
        self.channels = self.plane_channels = patches.shape[2]
        self.chunk, self.dtype = (group, group), patches.dtype.newbyteorder("=")
        self._patches, self._numbers = patches, numbers
        self._kept: OrderedDict[int, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    def decode(self, key: ChunkKey) -> Pixels:
        _, row, column = key
        number, side = self._numbers.get((row, column)), self.chunk[0]
        if number is None:
            return np.broadcast_to(np.full((), np.nan, self.dtype), (side, side, self.channels))
        chunk, inside = divmod(number, self._patches.chunk[0])
        places: Pixels = self._stored(chunk)[inside].reshape(side, side, self.channels)
        return places

    def _stored(self, chunk: int) -> Pixels:
        with self._lock:
            if (found := self._kept.get(chunk)) is not None:
                return found
        fetched = self._patches.fetch((chunk, 0, 0))
        if fetched is None:
            raise ValueError(f"chunk {chunk} of {PATCHES} is missing")
        with self._lock:
            self._kept[chunk] = fetched
            if len(self._kept) > KEPT_CHUNKS:
                self._kept.popitem(last=False)
        return fetched


def embedded_patches(
    path: Path, attributes: Mapping[str, Any], member: Callable[[str], StoredArray]
) -> tuple[ImageInfo, EmbeddedPatches] | None:
    """Return the image of the features of patches in a group; None if the group is no file of features of fit.

    Args:
        path: Folder of the group.
        attributes: Its attributes.
        member: Opens an array of it by name.

    Raises:
        ImageError: It has features of groups alone, or is damaged.
    """
    if not {"patch", "group", "height", "width"} <= attributes.keys() or not (path / LATENTS).is_dir():
        return None
    if not (path / PATCHES).is_dir():
        raise ImageError(
            path, "holds the features of groups, which are no image; write those of patches with `fit embed --patches`"
        )
    height, width, patch, group = (_whole(path, attributes, name) for name in ("height", "width", "patch", "group"))
    size = -(-height // patch), -(-width // patch)
    groups = -(-size[0] // group), -(-size[1] // group)
    patches, places = member(PATCHES), member(COORDINATES)
    count = patches.shape[0] if len(patches.shape) == 3 else -1
    if patches.shape[1:2] != (group * group,) or places.shape != (count, 2) or count > MOST_GROUPS:
        raise ImageError(path, f"has {PATCHES} {patches.shape} and {COORDINATES} {places.shape}; embed the image again")
    if patches.dtype != np.float32 or places.dtype.kind != "i" or not 1 <= patches.shape[2] <= MAX_CHANNELS:
        raise ImageError(path, f"has {PATCHES} of {patches.dtype}; embed the image again")
    if patches.chunk[1:] != patches.shape[1:] or places.chunk[1:] != (2,):
        raise ImageError(path, f"stores {PATCHES} in chunks of {patches.chunk}; embed the image again")
    if size[0] * size[1] > MOST_PLACES:
        raise ImageError(path, f"has {size[0]:,} x {size[1]:,} places; fit reads at most {MOST_PLACES:,}")
    numbers = _numbers(path, places, groups)
    present = sum(min(group, size[0] - row * group) * min(group, size[1] - column * group) for row, column in numbers)
    mpp = stated_mpp(path, attributes.get("mpp"))
    info = ImageInfo(
        height=size[0],
        width=size[1],
        channels=patches.shape[2],
        dtype=np.dtype(np.float32),
        chunk=(group, group),
        mpp=None if mpp is None else mpp * patch,
        format="fit features",
        features=FeatureGrid(
            side=float(patch),
            slide=(height, width),
            mpp=mpp,
            patch=float(patch),
            states_patch=True,
            missing=size[0] * size[1] - present,
        ),
    )
    return info, EmbeddedPatches(size, group, patches, numbers)


def _numbers(path: Path, places: StoredArray, groups: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Return the number of each group by (row, column)."""
    numbers: dict[tuple[int, int], int] = {}
    for chunk in range(-(-places.shape[0] // places.chunk[0])):
        stored = places.fetch((chunk, 0))
        if stored is None:
            raise ImageError(path, f"lacks a part of {COORDINATES}; embed the image again")
        for row, column in stored[: places.shape[0] - chunk * places.chunk[0]].tolist():
            if not (0 <= row < groups[0] and 0 <= column < groups[1]) or (row, column) in numbers:
                raise ImageError(path, f"has a group at ({row}, {column}) twice or outside; embed the image again")
            numbers[row, column] = len(numbers)
    return numbers


def _whole(path: Path, attributes: Mapping[str, Any], name: str) -> int:
    value = attributes[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_SIDE:
        raise ImageError(path, f"states the {name} {str(value)[:40]}; embed the image again")
    return value
