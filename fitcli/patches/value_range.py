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
        """Scale pixels [...] to float32 values in [0, 1]. NaN, a missing pixel, becomes 0.5; others are clipped."""
        low, span = np.float32(self.low), np.float32(self.high - self.low)
        values: NDArray[np.float32] = np.nan_to_num((pixels.astype(np.float32) - low) / span, nan=0.5).clip(0, 1)
        return values

    def to_pixels(self, values: NDArray[np.float32]) -> Pixels:
        """Invert `to_values`: clip values to [0, 1], scale them, and round for integer pixels."""
        pixels = self.low + values.clip(0, 1).astype(np.float64) * (self.high - self.low)
        return (pixels if self.dtype.kind == "f" else np.rint(pixels)).astype(self.dtype)
