"""Describes the pixels that a model was trained on, and converts the pixels of a file to them. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import CheckpointError, FitError
from fitcli.images.base import ImageInfo, Pixels
from fitcli.images.missing import missing_pixels, nodata_value
from fitcli.images.patch_size import PatchSize, patch_size
from fitcli.images.read_as import ReadAs

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

WHITE = {"uint8": 255.0, "uint16": 65535.0, "bool": 1.0}
"""White of the dtypes with a fixed range. Pixels of other dtypes have no common white."""

FULL = ("uint8", "bool")
"""Dtypes whose images use their whole range. uint16 files often hold 10, 12 or 14 bits."""

FARTHEST = 100.0
"""Standard deviations from the mean at which pixels of more than 8 bits are clipped: a hot pixel of 3e38 would overflow
in the model."""

CURRENT_RULES = 2
"""Rules by which new runs read pixels, see `Preprocessing.rules`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """The pixels that a model was trained on.

    Attributes:
        channels: Values per pixel.
        dtype: Name of the numpy dtype, "uint8", "uint16", "float32", ...
        mean, std: Mean and standard deviation of the training pixels per channel, in units of the pixels.
        mpp: Microns per pixel of the training images: the median of the known values, if they differ by no more than a
            tenth; None if they differ more, or if none is known.
        limits: (least, greatest) training pixel, without outliers; None if no training pixel was present. Runs of
            `rules` 1 count outliers, and have None for a dtype that is in `WHITE`.
        background: Threshold below which groups were left out, see `background.foreground`; None if none were.
        rules: Version of the rules by which pixels are read. By 2, missing pixels (see `fitcli.images.missing`) become
            the mean of their channel, background is a share of `limits`, and token dropout hides equally many patches
            of groups with equally many. By 1, which runs of earlier versions keep, nodata is a value like others,
            background is a share of the range of the dtype, and token dropout decides for each patch.
        uint16_white: Value in uint16 files that files of uint8 show as 255; None for 65535.
        features: Whether the training images are images of features.
        read_mpp, read_level, read_series, read_z, read_t, read_channels: Choice of `ReadAs` in training; None for whole
            files. Not in `repr`, which names models.
        trained_sides: (shortest, longest) side in pixels of what a step saw of the training images, as they were read;
            None for runs of earlier versions. Not in `repr`.
        trained_scales: (least, greatest) microns per pixel of the training images; None if none is known. Not in
            `repr`.
        trained_patch: Size of the patches of most training features; None if it is unknown, and for images of pixels
            and runs of earlier versions. Not in `repr`.

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
    rules: int = 1
    uint16_white: int | None = None
    features: bool = False
    read_mpp: float | None = field(default=None, repr=False)
    read_level: int | None = field(default=None, repr=False)
    trained_sides: tuple[int, int] | None = field(default=None, repr=False)
    trained_scales: tuple[float, float] | None = field(default=None, repr=False)
    read_series: str | None = field(default=None, repr=False)
    read_z: str | None = field(default=None, repr=False)
    read_t: int | None = field(default=None, repr=False)
    read_channels: str | None = field(default=None, repr=False)
    trained_patch: PatchSize | None = field(default=None, repr=False)

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
        if self.rules not in (1, CURRENT_RULES):
            raise CheckpointError(f"pixels are read by rules {self.rules!r}, which this version does not know")
        white = self.uint16_white
        if white is not None and not (isinstance(white, int) and 0 < white <= WHITE["uint16"]):
            raise CheckpointError(f"uint16_white must be a whole number in 1 ... 65535, not {white!r}")
        for name, least in (("trained_sides", 1), ("trained_scales", 0)):
            pair = getattr(self, name)
            if pair is not None and not (len(pair) == 2 and least <= pair[0] <= pair[1] < np.inf):
                raise CheckpointError(f"{name} must be two rising positive numbers, not {pair}")
        if isinstance(self.trained_patch, Mapping):  # from JSON
            try:
                object.__setattr__(self, "trained_patch", PatchSize(**self.trained_patch))
            except (TypeError, ValueError) as error:
                raise CheckpointError(f"trained_patch is no size of patches: {error}") from None
        if not isinstance(self.trained_patch, PatchSize | None):
            raise CheckpointError(f"trained_patch is no size of patches: {self.trained_patch!r}")
        try:
            _ = self.read_as
        except FitError as error:
            raise CheckpointError(f"images cannot be read as in training: {error}") from None

    @property
    def read_as(self) -> ReadAs:
        """What was read of each training image."""
        return ReadAs(
            level=self.read_level,
            mpp=self.read_mpp,
            series=self.read_series,
            z=self.read_z,
            t=self.read_t,
            channels=self.read_channels,
        )

    def reading(self, how: ReadAs) -> Preprocessing:
        """Return this for images of which something else is read."""
        return replace(
            self,
            read_level=how.level,
            read_mpp=how.mpp,
            read_series=how.series,
            read_z=how.z,
            read_t=how.t,
            read_channels=how.channels,
        )

    @property
    def range(self) -> tuple[float, float]:
        """(black, white): the range of the dtype for uint8 and bool, otherwise `limits`.

        It is the range of the dtype for uint16, too, if no limits are recorded, or if they reach into its upper half:
        then no bit is unused, and nothing is clipped.
        """
        whole = self.dtype in WHITE and (self.limits is None or self.limits[1] > WHITE[self.dtype] / 2)
        if whole or self.dtype in FULL:
            return 0.0, WHITE[self.dtype]
        if self.limits is None:
            raise CheckpointError(f"black and white of {self.dtype} pixels are not recorded; train the model again")
        return self.limits

    @property
    def spread(self) -> float | None:
        """Range of the training pixels, of which background is a share; None for runs of `rules` 1."""
        return None if self.rules == 1 or self.limits is None else self.limits[1] - self.limits[0]

    def mismatch(self, info: ImageInfo, training: bool = False) -> str | None:
        """Return why an image cannot be converted for the model, and what to do; None if it can.

        Args:
            info: Description of the image.
            training: Whether the model is still to be trained, on other images of the same data set.
        """
        others = "the other training images have" if training else "the model was trained on"
        if self.features != (info.features is not None):
            kinds = {True: "features of patches", False: "pixels"}
            return f"has {kinds[not self.features]}, {others} {kinds[self.features]}; give files of one kind"
        if self.features and info.channels != self.channels:
            return (
                f"has features of {info.channels} values, {others} {self.channels}; extract all features with the same "
                "encoder"
            )
        size = patch_size(info.features)
        if size is not None and self.trained_patch is not None and size.contradicts(self.trained_patch):
            return (
                f"has features of patches of {size}, {others} {self.trained_patch}; {size.advice(self.trained_patch)}"
            )
        if not _channels_convert(info, self.channels):
            what = "leave it out" if training else "train on images like this one"
            return (
                f"has {info.channels} channels, {others} {self.channels}; write an image with those channels, or {what}"
            )
        if not _dtype_converts(info.dtype, np.dtype(self.dtype)):
            what = "other" if training else "training"
            return (
                f"has {info.dtype} pixels, {others} {self.dtype}; "
                f"rescale the image to {self.dtype} with the range of the {what} images"
            )
        return None

    def channel_change(self, info: ImageInfo) -> str:
        """Return in words how the colours of an image are converted; "" if they are those of the model."""
        if (info.channels >= 3) == (self.channels >= 3) or info.channels == self.channels:
            return ""
        return "grey becomes red, green and blue" if self.channels == 3 else "colour becomes grey"

    def convert(self, pixels: Pixels, info: ImageInfo) -> Pixels:
        """Convert pixels [height width channels] of a file to the channels and the dtype of the model.

        Alpha is dropped. Grey is repeated into red, green and blue; for a model of grey images, colour becomes
        brightness. uint8 and uint16 are scaled into each other, see `uint16_white`, and true becomes white. A value
        beyond the range of a narrower float becomes its end. Missing pixels become the mean of
        their channel, rounded for integers. Pixels of more than 8 bits are clipped at `FARTHEST`.
        """
        return self.convert_filled(pixels, info)[0]

    def convert_filled(self, pixels: Pixels, info: ImageInfo) -> tuple[Pixels, NDArray[np.bool_] | None]:
        """Convert pixels as `convert` does, and return which of them are missing, as `convert_marked` does.

        By `rules` 1, no pixel is missing.
        """
        if self.rules == 1:
            return self._convert(pixels, info), None
        converted, missing = self.convert_marked(pixels, info)
        if missing is not None:
            fill = np.array(self.mean) if converted.dtype.kind == "f" else np.rint(self.mean)
            converted = np.where(missing, fill.astype(converted.dtype), converted)
        return (converted if self.dtype in FULL else np.clip(converted, *self._farthest())), missing

    def convert_marked(self, pixels: Pixels, info: ImageInfo) -> tuple[Pixels, NDArray[np.bool_] | None]:
        """Convert pixels as `convert` does, but leave missing pixels as they are.

        Returns:
            The pixels, and which of them are missing, both [height width channels]; None if certainly none are.
        """
        missing = missing_pixels(pixels, info.nodata)
        converted = self._convert(pixels, info)
        if missing is None or not missing.any():
            return converted, None
        if info.channels != self.channels:
            missing = _convert_missing(missing, self.channels)
        unusable = missing_pixels(converted, None)
        return converted, missing if unusable is None else missing | unusable

    def convert_to_keep(self, pixels: Pixels, info: ImageInfo) -> Pixels:
        """Convert pixels as `convert` does, but give missing pixels the value `kept_nodata`, to write them again."""
        converted, missing = self.convert_marked(pixels, info)
        value = nodata_value(self.kept_nodata(info), converted.dtype)
        if missing is None or value is None:
            return converted
        return np.where(missing & np.isfinite(converted), value, converted)

    def kept_nodata(self, info: ImageInfo) -> float | None:
        """Return the nodata value of an image after `convert_to_keep`; None if it has none."""
        value = nodata_value(info.nodata, info.dtype)
        if value is None or info.dtype.kind == "f" or info.dtype == self.dtype:
            return info.nodata
        return int(self._convert_dtype(np.array([value]))[0])

    def _farthest(self) -> tuple[Pixels, Pixels]:
        """Return the least and the greatest value of each channel [channels], in the dtype of the model."""
        dtype, bounds = np.dtype(self.dtype), []
        limits: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        for sign in (-1, 1):
            ends = [mean + sign * FARTHEST * std for mean, std in zip(self.mean, self.std, strict=True)]
            inside = [min(max(end, float(limits.min)), float(limits.max)) for end in ends]
            whole = [int(limits.max) if end >= float(limits.max) else int(end) for end in inside]
            bounds.append(np.array(inside if dtype.kind == "f" else whole, dtype))
        return bounds[0], bounds[1]

    def _convert(self, pixels: Pixels, info: ImageInfo) -> Pixels:
        if info.channels != self.channels:
            pixels = _convert_channels(pixels, self.channels)
        return pixels if info.dtype == self.dtype else self._convert_dtype(pixels)

    def _convert_dtype(self, pixels: Pixels) -> Pixels:
        target, white = np.dtype(self.dtype), self.uint16_white or 65535
        if pixels.dtype == np.uint16 and target == np.uint8:
            return ((pixels.astype(np.uint32) * 255 + white // 2) // white).clip(0, 255).astype(np.uint8)
        if pixels.dtype == np.uint8 and target == np.uint16:
            return ((pixels.astype(np.uint32) * white + 127) // 255).astype(np.uint16)
        if self.rules > 1 and target.kind == "f" and target.itemsize < pixels.dtype.itemsize:
            # A value beyond a narrower float is a peak, not a missing pixel, so it does not become infinity.
            pixels = np.where(np.isfinite(pixels), pixels.clip(np.finfo(target).min, np.finfo(target).max), pixels)
        with np.errstate(over="ignore"):
            converted: Pixels = pixels.astype(target)
        if pixels.dtype == np.bool_:
            converted *= target.type(255 if target == np.uint8 else white)
        return converted


def _channels_convert(info: ImageInfo, channels: int) -> bool:
    if info.channels == channels:
        return True
    colors = {1: 1, 2: 1, 3: 3, 4: 3}
    if info.channels > 1 and not (info.color or info.alpha):
        return False
    return channels in (1, 3) and info.channels in colors


def _convert_channels(pixels: Pixels, channels: int) -> Pixels:
    colors = pixels[..., : 3 if pixels.shape[-1] >= 3 else 1]
    if colors.shape[-1] == channels:
        return colors
    if channels == 3:
        return np.repeat(colors, 3, axis=-1)
    return (colors @ LUMA)[..., None].astype(pixels.dtype)


def _convert_missing(missing: NDArray[np.bool_], channels: int) -> NDArray[np.bool_]:
    """Return which values are missing after `_convert_channels`."""
    colors = missing[..., : 3 if missing.shape[-1] >= 3 else 1]
    if channels == 3:
        return np.broadcast_to(colors, (*colors.shape[:2], 3))
    return np.logical_or.reduce(colors, axis=-1, keepdims=True)


def _dtype_converts(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    if source == target:
        return True
    if target.kind == "f":
        return source.kind == "f"
    return target.name in ("uint8", "uint16") and source.name in (target.name, "bool", "uint8", "uint16")
