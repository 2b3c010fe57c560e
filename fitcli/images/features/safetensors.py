"""Reads the features of patches that `fit embed --patches` writes as safetensors: a header in JSON, then the arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.feature_grid import FeatureGrid, stated_mpp
from fitcli.images.features.place_index import MOST_PLACES
from fitcli.images.features.reader import FeatureReader, check_values
from fitcli.images.window import Window

LARGEST_HEADER = 1 << 20
"""Most bytes of a header: that of fit has some hundred."""

DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "I64": np.dtype("<i8")}
"""Dtypes by their names in the header."""

MOST_SIDE = 1 << 31
"""Largest side of an image, in pixels."""


class SafetensorsReader(FeatureReader):
    """Reads the features of patches; places in groups without features are NaN.

    Raises:
        ImageError: The file is damaged, or was not written by `fit embed --patches`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            arrays, texts = _arrays(path)
            self._patches, places = arrays["patches"], arrays["coordinates"]
            height, width, patch, self._group = (_whole(texts[name]) for name in ("height", "width", "patch", "group"))
            mpp = json.loads(texts.get("mpp", "null"))
        except (ValueError, KeyError, TypeError, OSError, RecursionError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:120]
            raise ImageError(
                path, f"holds no features of patches ({reason}); write them with `fit embed --patches`"
            ) from None
        size, group = (-(-height // patch), -(-width // patch)), self._group
        groups = tuple(-(-side // group) for side in size)
        if self._patches.ndim != 3 or self._patches.shape[1] != group * group:
            raise ImageError(path, f"has patches of shape {self._patches.shape}; embed the image again")
        if places.shape != (len(self._patches), 2) or size[0] * size[1] > MOST_PLACES:
            raise ImageError(
                path, f"has coordinates {places.shape} of {size[0]:,} x {size[1]:,} places; embed it again"
            )
        dtype = check_values(path, self._patches.shape[2], self._patches.dtype)
        self._numbers: dict[tuple[int, int], int] = {}
        for number, (row, column) in enumerate(places.tolist()):
            if not (0 <= row < groups[0] and 0 <= column < groups[1]) or (row, column) in self._numbers:
                raise ImageError(path, f"has a group at ({row}, {column}) twice or outside; embed the image again")
            self._numbers[row, column] = number
        present = sum(
            min(group, size[0] - row * group) * min(group, size[1] - column * group) for row, column in self._numbers
        )
        scale = stated_mpp(path, mpp)
        grid = FeatureGrid(
            side=float(patch),
            slide=(height, width),
            mpp=scale,
            patch=float(patch),
            states_patch=True,
            missing=size[0] * size[1] - present,
        )
        self.info = ImageInfo(
            height=size[0],
            width=size[1],
            channels=self._patches.shape[2],
            dtype=dtype,
            chunk=(group, group),
            mpp=None if scale is None else scale * patch,
            format="fit features",
            features=grid,
        )

    def _read(self, window: Window) -> Pixels:
        pixels = np.full((window.height, window.width, self.info.channels), np.nan, self.info.dtype)
        side = self._group
        for row, column in window.chunks(side, side):
            number = self._numbers.get((row, column))
            if number is not None:
                own = Window(row * side, column * side, side, side)
                part = own.intersection(window)
                stored = self._patches[number].reshape(side, side, -1)
                target = part.shift(-window.top, -window.left).slices()
                pixels[target] = stored[part.shift(-own.top, -own.left).slices()]
        return pixels


def _arrays(path: Path) -> tuple[dict[str, NDArray[Any]], Mapping[str, str]]:
    """Return the arrays of a file, which stay on the disk, and its texts.

    Raises:
        ValueError, KeyError, TypeError: The file is damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise ValueError("its header is damaged")
        header = json.loads(file.read(length))
    arrays: dict[str, NDArray[Any]] = {}
    for name in ("patches", "coordinates"):
        described = header[name]
        dtype, shape = DTYPES[described["dtype"]], tuple(_whole(side) for side in described["shape"])
        start, stop = (_whole(offset, 0) for offset in described["data_offsets"])
        if stop - start != math.prod(shape) * dtype.itemsize or 8 + length + stop > size:
            raise ValueError(f"{name} is incomplete")
        arrays[name] = np.memmap(path, dtype, "r", 8 + length + start, shape)
    return arrays, header["__metadata__"]


def _whole(value: Any, least: int = 1) -> int:
    number = int(value)
    if not least <= number < (MOST_SIDE if least else 1 << 62) or str(number) != str(value):
        raise ValueError(f"{str(value)[:40]} is no size")
    return number
