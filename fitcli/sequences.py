"""Images as sequences of integer levels, for the autoregressive decoder, and back.

One patch is one group and its values are the tokens. Groups follow each other row by row ("raster") or with every
second row from right to left ("snake", so that neighbours in the sequence are neighbours in the image).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.patches import cut, join
from models.config import ConfigError
from models.groups import Groups

Order = Literal["raster", "snake"]
"""Of the patches of an image; never of the values in a patch."""


def quantize(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values in [0, 1] -> levels 0 .. 255, rounded towards zero as in the reference.

    Raises:
        ValueError: A value lies outside, or is NaN.
    """
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"values from {values.min()} to {values.max()} do not lie in [0, 1]")
    return (values.astype(np.float32) * np.float32(255)).astype(np.uint8)


def to_sequence(levels: NDArray[Any], patch: tuple[int, int], order: Order = "raster") -> Tensor:
    """Cut integer levels [height width channels] into a sequence of groups [g n] int64.

    Args:
        levels: Whole patches, see `whole_patches`.
        patch: (height, width) of a patch in pixels; (1, 1) gives the plain raster of pixels.
        order: Of the patches.

    Raises:
        ValueError: The pixels are not whole patches.
        ConfigError: Another order.
    """
    groups = cut(levels, patch, (1, 1))[:, 0].long()
    return groups[permutation(levels.shape[0] // patch[0], levels.shape[1] // patch[1], order)]


def from_sequence(sequence: Tensor, patch: tuple[int, int], columns: int, order: Order = "raster") -> NDArray[np.int64]:
    """The inverse of `to_sequence`: a sequence [g n] with `columns` patches per row to [height width channels].

    Raises:
        ValueError: The groups do not fill whole rows.
        ConfigError: Another order.
    """
    rows, rest = divmod(len(sequence), columns)
    if rest:
        raise ValueError(f"{len(sequence)} groups do not fill rows of {columns}")
    groups = torch.empty_like(sequence)
    groups[permutation(rows, columns, order)] = sequence
    return join(groups[:, None], patch, (1, 1), columns)


def shift_right(targets: Tensor) -> Tensor:
    """What the decoder sees when it predicts the targets [g n] of one image: at each place the token before it.

    The first token of a group comes after the last of the group before; in front of everything stands 0.
    """
    flat = targets.flatten()
    return torch.cat([flat.new_zeros(1), flat[:-1]]).reshape(targets.shape)


def sequence_groups(rows: int, columns: int, order: Order = "raster") -> Groups:
    """The groups of one image of `rows` x `columns` patches, numbered along the sequence."""
    raster = Groups.of_grid(images=1, rows=rows, columns=columns)
    return raster._replace(coordinates=raster.coordinates[permutation(rows, columns, order)])


def permutation(rows: int, columns: int, order: Order) -> Tensor:
    """[g] int64: the raster numbers of the patches in their order.

    Raises:
        ConfigError: Another order.
    """
    numbers = torch.arange(rows * columns).reshape(rows, columns)
    if order == "snake":
        numbers[1::2] = numbers[1::2].flip(1)
    elif order != "raster":
        raise ConfigError(f"patches follow each other in raster or snake order, not {order!r}")
    return numbers.flatten()


def whole_patches(pixels: NDArray[Any], patch: tuple[int, int]) -> NDArray[Any]:
    """Drop the pixels at the right and at the bottom that do not fill a patch, as the reference does."""
    height, width = pixels.shape[0] // patch[0] * patch[0], pixels.shape[1] // patch[1] * patch[1]
    return pixels[:height, :width]
