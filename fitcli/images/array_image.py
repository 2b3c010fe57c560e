"""Presents numpy arrays in memory as an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, ImageReader, Level, Pixels
from fitcli.images.window import Window


class ArrayReader(ImageReader):
    """Reads windows of arrays in memory.

    The arrays are shared with the caller, not copied. Pickling copies them whole.

    Args:
        pixels: Array [height, width, channels], or a list of such arrays: pyramid levels, largest first.
        path: Name of the image in error messages.
        mpp, color, nodata, format: Fields of `ImageInfo`. By default, 3 channels of uint8 are colours.

    Raises:
        ValueError: An array does not have three axes, or levels differ in dtype or channels.
    """

    def __init__(
        self,
        pixels: Pixels | Sequence[Pixels],
        *,
        path: Path = Path("array"),
        mpp: float | None = None,
        color: bool | None = None,
        nodata: float | None = None,
        format: str = "array",
    ) -> None:
        levels = [pixels] if isinstance(pixels, np.ndarray) else list(pixels)
        base = levels[0]
        for level in levels:
            if level.ndim != 3 or (level.shape[2], level.dtype) != (base.shape[2], base.dtype):
                raise ValueError(f"a level of {base.shape} {base.dtype} cannot be {level.shape} {level.dtype}")
        height, width, channels = base.shape
        self.path = path
        self.info = ImageInfo(
            height=height,
            width=width,
            channels=channels,
            dtype=base.dtype,
            levels=tuple(Level(level.shape[0], level.shape[1], height / level.shape[0]) for level in levels),
            mpp=mpp,
            format=format,
            color=(channels == 3 and base.dtype == np.uint8) if color is None else color,
            nodata=nodata,
        )
        self._levels: list[Pixels] | None = levels

    def read(self, window: Window, level: int = 0) -> Pixels:
        levels = self._levels
        if levels is None:
            raise ImageError(self.path, "has been closed; open it again to read from it")
        if not 0 <= level < len(levels):
            raise ImageError(self.path, f"has no level {level}; its levels are 0 to {len(levels) - 1}")
        pixels = levels[level]
        window = window.clip(*pixels.shape[:2])
        return pixels[window.slices()].astype(self.info.dtype, copy=True)

    def close(self) -> None:
        self._levels = None

    def __reduce__(self) -> tuple[Any, ...]:
        info = self.info
        options = {"mpp": info.mpp, "color": info.color, "nodata": info.nodata, "format": info.format}
        return _unpickled, (self._levels, {"path": self.path, **options})


def _unpickled(levels: list[Pixels] | None, options: dict[str, Any]) -> ArrayReader:
    if levels is None:
        raise ValueError("a closed ArrayReader cannot be unpickled")
    return ArrayReader(levels, **options)
