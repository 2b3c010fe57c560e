"""Pixels of a file as values in [0, 1], and back. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.preprocessing import Preprocessing

FLOAT_DEVIATIONS = 3.0
"""Pixels that are floats have no range of their own: as many standard deviations to both sides of the mean."""


@dataclass(frozen=True, slots=True)
class PixelRange:
    """The range of pixels that [0, 1] stands for.

    Attributes:
        low, high: In units of the pixels.
        dtype: Of the pixels.
    """

    low: float
    high: float
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, preprocessing: Preprocessing) -> PixelRange:
        """Of the pixels that a model was trained on: all that an integer can be; for floats by their statistics."""
        dtype = np.dtype(preprocessing.dtype)
        if dtype.kind == "b":
            return cls(0.0, 1.0, dtype)
        if dtype.kind in "iu":
            return cls(float(np.iinfo(dtype).min), float(np.iinfo(dtype).max), dtype)
        pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
        low = min(mean - FLOAT_DEVIATIONS * std for mean, std in pairs)
        return cls(low, max(mean + FLOAT_DEVIATIONS * std for mean, std in pairs), dtype)

    def to_values(self, pixels: Pixels) -> NDArray[np.float32]:
        """Pixels [...] -> float32, missing ones (NaN) in the middle of the range."""
        values = ((pixels.astype(np.float32) - np.float32(self.low)) / np.float32(self.high - self.low)).astype(
            np.float32
        )
        return np.nan_to_num(values, nan=0.5, posinf=1.0, neginf=0.0) if self.dtype.kind == "f" else values

    def to_pixels(self, values: NDArray[np.float32]) -> Pixels:
        """The inverse: values beyond [0, 1] become the ends of the range, integers are rounded."""
        pixels = self.low + values.clip(0, 1).astype(np.float64) * (self.high - self.low)
        return (pixels if self.dtype.kind == "f" else np.rint(pixels)).astype(self.dtype)
