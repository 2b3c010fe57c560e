"""Orders the patches of an image into a sequence: one patch is one group of the autoregressive decoder."""

from __future__ import annotations

from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checks import ConfigError

Order = Literal["raster", "snake"]
"""Order of the patches of an image, not of the values in a patch. "raster": row by row, each from left to right.
"snake": every second row from right to left, so that neighbours in the sequence are neighbours in the image."""


def permutation(rows: int, columns: int, order: Order) -> Tensor:
    """Return the raster numbers of the patches in an order, [g] int64.

    Raises:
        ConfigError: The order is unknown.
    """
    numbers = torch.arange(rows * columns).reshape(rows, columns)
    if order == "snake":
        numbers[1::2] = numbers[1::2].flip(1)
    elif order != "raster":
        raise ConfigError(f"order must be raster or snake, not {order!r}")
    return numbers.flatten()


def whole_patches(pixels: NDArray[Any], patch: tuple[int, int]) -> NDArray[Any]:
    """Drop the pixels at the right and lower edge that do not fill a patch, as the reference does."""
    height, width = pixels.shape[0] // patch[0] * patch[0], pixels.shape[1] // patch[1] * patch[1]
    return pixels[:height, :width]
