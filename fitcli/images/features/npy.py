"""Reads features from `.npy` files of numpy: arrays [rows columns values]."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.features.place_index import MOST_PLACES
from fitcli.images.features.reader import FeatureReader, check_values
from fitcli.images.window import Window


class NpyReader(FeatureReader):
    """Reads an array that stays on the disk; NaN marks places without features.

    Raises:
        ImageError: The file is damaged, or holds no such array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # Pickled objects could run any code.
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # numpy parses the header as Python, with errors of many types
            raise ImageError(path, _why(error)) from None
        if not isinstance(array, np.memmap) or array.dtype.fields is not None:
            raise ImageError(path, "holds no plain array; save features as [rows, columns, values]")
        if array.ndim != 3:
            raise ImageError(path, f"is an array of shape {array.shape}; save features as [rows, columns, values]")
        rows, columns, values = array.shape
        dtype = check_values(path, values, array.dtype)
        if not 1 <= rows * columns <= MOST_PLACES:
            raise ImageError(path, f"has {rows:,} x {columns:,} places; fit reads 1 to {MOST_PLACES:,}")
        self._array = array
        self.info = ImageInfo(
            height=rows,
            width=columns,
            channels=values,
            dtype=dtype,
            chunk=(1, 1),
            format="NumPy features",
            features=FeatureGrid(),
        )

    def _read(self, window: Window) -> Pixels:
        with np.errstate(over="ignore"):
            return np.array(self._array[window.slices()], dtype=self.info.dtype, order="C")


def _why(error: Exception) -> str:
    text = str(error)
    if "Python objects" in text or "allow_pickle" in text:
        return "holds Python objects, which could run any code; save an array of floats"
    reason = " ".join(text.split())[:120] or type(error).__name__
    return f"cannot be read as a numpy array ({reason}); it is damaged or incomplete, so write it again"
