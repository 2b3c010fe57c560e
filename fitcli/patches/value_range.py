"""Scales the pixels of a file to values in [0, 1], and back. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.patches.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True)
class PixelRange:
    """The range of pixels that is scaled to [0, 1].

    Attributes:
        low, high: Black and white, in units of the pixels.
        dtype: Type of the pixels.
    """

    low: float
    high: float
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> PixelRange:
        """Return the range, from black to white, of the pixels that a model was trained on."""
        return cls(*preprocessing.range, np.dtype(preprocessing.dtype))

    def to_values(self, pixels: Pixels) -> NDArray[np.float32]:
        """Scale pixels [...] to float32 values in [0, 1]. NaN becomes 0.5; others are clipped."""
        return to_unit_range(pixels, self.low, self.high)

    def to_pixels(self, values: NDArray[np.float32]) -> Pixels:
        """Invert `to_values`: clip values to [0, 1], scale them, and round for integer pixels."""
        pixels = self.low + values.clip(0, 1).astype(np.float64) * (self.high - self.low)
        return (pixels if self.dtype.kind == "f" else np.rint(pixels)).astype(self.dtype)


def to_unit_range(pixels: Pixels, low: float, high: float) -> NDArray[np.float32]:
    """Scale pixels [...] of any dtype to float32 values in [0, 1], as `cutting.to_unit` scales patches."""
    wide = pixels.dtype.kind != "b" and pixels.dtype.itemsize > (4 if pixels.dtype.kind == "f" else 2)
    exact: type[np.floating[Any]] = np.float64 if wide else np.float32
    scaled = (pixels.astype(exact) - exact(low)) / exact(high - low)
    values: NDArray[np.float32] = np.nan_to_num(scaled.astype(np.float32), nan=0.5).clip(0, 1)
    return values
