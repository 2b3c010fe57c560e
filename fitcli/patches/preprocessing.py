"""Describes the pixels that a model was trained on, and converts the pixels of a file to them. numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitcli.errors import CheckpointError, FitError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.read_as import ReadAs

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

WHITE = {"uint8": 255.0, "uint16": 65535.0, "bool": 1.0}
"""White of the dtypes with a fixed range. Pixels of other dtypes have no common white."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """The pixels that a model was trained on.

    Attributes:
        channels: Values per pixel.
        dtype: Name of the numpy dtype, "uint8", "uint16", "float32", ...
        mean, std: Mean and standard deviation of the training pixels per channel, in units of the pixels.
        mpp: Microns per pixel of the training images: the median of the known values, if they differ by no more than a
            tenth; None if they differ more, or if none is known.
        limits: (least, greatest) training pixel, for a dtype that is not in `WHITE`; None for others.
        background: Threshold below which groups were left out, see `background.foreground`; None if none were.
        read_mpp, read_level: Choice of `ReadAs` in training; None for whole files. Not in `repr`, which names models.

    Raises:
        CheckpointError: A value is impossible.
    """

    channels: int
    dtype: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mpp: float | None = None
    limits: tuple[float, float] | None = None
    background: float | None = None
    read_mpp: float | None = field(default=None, repr=False)
    read_level: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not (len(self.mean) == len(self.std) == self.channels):
            raise CheckpointError(
                f"{self.channels} channels do not match {len(self.mean)} values of mean and {len(self.std)} of std"
            )
        if not isinstance(self.dtype, str) or np.dtype(self.dtype).kind not in "buif":
            raise CheckpointError(f"dtype {self.dtype!r} is not a numeric type")
        if self.mpp is not None and not 0 < self.mpp < np.inf:
            raise CheckpointError(f"mpp must be a positive number, not {self.mpp}")
        if not all(np.isfinite([*self.mean, *self.std])) or min(self.std) <= 0:
            raise CheckpointError(f"mean must be finite and std positive, not {self.mean} and {self.std}")
        if self.limits is not None and not (
            len(self.limits) == 2 and -np.inf < self.limits[0] < self.limits[1] < np.inf
        ):
            raise CheckpointError(f"limits must be two rising numbers, not {self.limits}")
        if self.background is not None and not 0 <= self.background <= 1:
            raise CheckpointError(f"background must lie in [0, 1], not {self.background}")
        try:
            ReadAs(level=self.read_level, mpp=self.read_mpp)
        except FitError as error:
            raise CheckpointError(f"images cannot be read as in training: {error}") from None

    @property
    def read_as(self) -> ReadAs:
        """What was read of each training image."""
        return ReadAs(level=self.read_level, mpp=self.read_mpp)

    @property
    def range(self) -> tuple[float, float]:
        """(black, white): the range of the dtype for uint8, uint16 and bool, otherwise `limits`."""
        if self.dtype in WHITE:
            return 0.0, WHITE[self.dtype]
        if self.limits is None:
            raise CheckpointError(f"black and white of {self.dtype} pixels are not recorded; train the model again")
        return self.limits

    def mismatch(self, info: ImageInfo) -> str | None:
        """Return why an image cannot be converted for the model, and what to do; None if it can."""
        if not _channels_convert(info, self.channels):
            return (
                f"has {info.channels} channels, the model was trained on {self.channels}; "
                "write an image with those channels, or train on images like this one"
            )
        if not _dtype_converts(info.dtype, np.dtype(self.dtype)):
            return (
                f"has {info.dtype} pixels, the model was trained on {self.dtype}; "
                f"rescale the image to {self.dtype} with the range of the training images"
            )
        return None

    def convert(self, pixels: Pixels, info: ImageInfo) -> Pixels:
        """Convert pixels [height width channels] of a file to the channels and the dtype of the model.

        Alpha is dropped. Grey is repeated into red, green and blue; for a model of grey images, colour becomes
        brightness. uint8 and uint16 are scaled into each other over their full ranges.
        """
        if info.channels != self.channels:
            pixels = _convert_channels(pixels, self.channels)
        if info.dtype != self.dtype:
            pixels = _convert_dtype(pixels, np.dtype(self.dtype))
        return pixels


def _channels_convert(info: ImageInfo, channels: int) -> bool:
    if info.channels == channels:
        return True
    colors = {1: 1, 2: 1, 3: 3, 4: 3}
    if info.channels > 1 and not (info.color or info.channels == 2):
        return False
    return channels in (1, 3) and info.channels in colors


def _convert_channels(pixels: Pixels, channels: int) -> Pixels:
    colors = pixels[..., : 3 if pixels.shape[-1] >= 3 else 1]
    if colors.shape[-1] == channels:
        return colors
    if channels == 3:
        return np.repeat(colors, 3, axis=-1)
    return (colors @ LUMA)[..., None].astype(pixels.dtype)


def _dtype_converts(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    if source == target:
        return True
    if target.kind == "f":
        return source.kind == "f"
    return {source.name, target.name} <= {"uint8", "uint16"} or (source.name, target.name) == ("bool", "uint8")


def _convert_dtype(pixels: Pixels, target: np.dtype[Any]) -> Pixels:
    if pixels.dtype == np.uint16 and target == np.uint8:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype == np.uint8 and target == np.uint16:
        return pixels.astype(np.uint16) * np.uint16(257)
    return pixels.astype(target) * (255 if pixels.dtype == np.bool_ else 1)
