"""Reads windows of features that lie in rows of a table: the part that formats have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.chunks import MAX_CHANNELS
from fitcli.images.window import Window

ROWS_AT_ONCE = 4096
"""Most rows of a table that are read at a time."""

GAPS = 2
"""Rows that are read for one that is needed: reading a stretch costs less than finding its parts."""


class FeatureReader(ImageReader):
    """Reads features. They have one level, and no value is cached: a window of features is read once."""

    _closed = False

    def read(self, window: Window, level: int = 0) -> Pixels:
        if self._closed:
            raise ImageError(self.path, "has been closed; open it again to read from it")
        if level != 0:
            raise ImageError(self.path, f"has no level {level}; its levels are 0 to 0")
        window = window.clip(*self.info.size)
        if window.area == 0:
            return np.empty((window.height, window.width, self.info.channels), self.info.dtype)
        return self._read(window)

    @abstractmethod
    def _read(self, window: Window) -> Pixels:
        """Return the features of a window that lies on the image and is not empty."""

    def close(self) -> None:
        self._closed = True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)


def check_values(path: Path, count: int, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which features are read: float64 becomes float32, which holds all that networks give.

    Raises:
        ImageError: They are no floats, or too many per place.
    """
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise ImageError(path, f"holds {dtype} values; features are floats: convert them to float32")
    if not 1 <= count <= MAX_CHANNELS:
        raise ImageError(path, f"has features of {count:,} values; fit reads 1 to {MAX_CHANNELS:,}")
    return np.dtype(np.float16 if dtype.itemsize == 2 else np.float32)


def stretches(rows: NDArray[np.int64]) -> Iterator[tuple[int, int, slice]]:
    """Yield (first row, last row + 1, their places in `rows`) of the stretches of a table to read, for rising rows."""
    start = 0
    for end in range(1, len(rows) + 1):
        first = int(rows[start])
        if end < len(rows):
            length = int(rows[end]) - first + 1
            if length <= ROWS_AT_ONCE and length <= GAPS * (end - start + 1):
                continue
        yield first, int(rows[end - 1]) + 1, slice(start, end)
        start = end
