"""Opens an image the way a user or a run wants it read: the one place where such choices are applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fitcli.errors import FitError, ImageError, UnreadableAs
from fitcli.files.path_choice import split_choice
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.rescaled import Rescaled
from fitcli.images.scale import same_scale


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAs:
    """What is read of a file.

    Attributes:
        level: Pyramid level that is read as level 0; None for the whole pyramid.
        mpp: Microns per pixel at which the image is read; None for its own.
        needs_scale: Whether `mpp` refuses an image without a known scale; otherwise it is read as it is.
        series, z, t, channels: As in `PlaneChoice`.

    Raises:
        FitError: Both a level and a scale are given, or a value is impossible.
    """

    level: int | None = None
    mpp: float | None = None
    needs_scale: bool = True
    series: str | None = None
    z: str | None = None
    t: int | None = None
    channels: str | None = None

    def __post_init__(self) -> None:
        if self.level is not None and self.mpp is not None:
            raise FitError("--level and --mpp both choose the size of the pixels; give one of them")
        if self.level is not None and not (isinstance(self.level, int) and self.level >= 0):
            raise FitError(f"--level must be an integer of at least 0, not {self.level}")
        if self.mpp is not None and not 0 < self.mpp < math.inf:
            raise FitError(f"--mpp must be above 0 and finite, not {self.mpp}")
        _ = self.planes

    @property
    def planes(self) -> PlaneChoice:
        """Image and planes of the file."""
        return PlaneChoice(series=self.series, z=self.z, t=self.t, channels=self.channels)

    def over(self, other: ReadAs) -> ReadAs:
        """Return what this chooses, and for the rest what another one does. A level or a scale replaces both."""
        sizes = self if self.level is not None or self.mpp is not None else other
        return ReadAs(
            level=sizes.level,
            mpp=sizes.mpp,
            needs_scale=sizes.needs_scale,
            series=other.series if self.series is None else self.series,
            z=other.z if self.z is None else self.z,
            t=other.t if self.t is None else self.t,
            channels=other.channels if self.channels is None else self.channels,
        )

    def with_text(self, choices: Mapping[str, str]) -> ReadAs:
        """Return this with other values by name, as they stand at the end of a path. A level replaces a scale.

        Raises:
            FitError: A value is impossible.
        """
        values: dict[str, Any] = dict(choices)
        for name, kind in (("level", int), ("t", int), ("mpp", float)):
            if name in values:
                try:
                    values[name] = kind(values[name])
                except ValueError:
                    raise FitError(f"{name} must be a number, not {values[name]}") from None
        if "level" in values or "mpp" in values:
            values = {"level": None, "mpp": None, "needs_scale": True, **values}
        return replace(self, **values)


AS_STORED = ReadAs()
"""The whole file."""


def open_as(path: str | Path, how: ReadAs = AS_STORED, *, indices: bool = False, lenient: bool = False) -> ImageReader:
    """Open an image as it is to be read. See `open_image`.

    What is chosen at the end of the path, as in `a.tif#z=3`, comes before `how`.

    With a scale, this is the level nearest to it if they differ by no more than a tenth; otherwise the smallest level
    that is at least as fine, resampled.

    Args:
        path: The image, with a choice at its end or without.
        how: Level, scale and planes that are read of it.
        indices: Whether to return the numbers that are stored, see `open_image`; the nearest ones at another scale.
        lenient: Whether to take the first plane where none is chosen, see `open_image`.

    Raises:
        UnreadableAs: The image does not have the planes, the level or a scale, or not one that can become that of
            `how`.
        ImageError: The image cannot be opened.
    """
    image = _opened(path, how, indices, lenient)
    image.opened_as = (str(path), how)
    return image


def _opened(path: str | Path, how: ReadAs, indices: bool, lenient: bool) -> ImageReader:
    stored, choices = split_choice(path)
    try:
        how = how.with_text(choices) if choices else how
    except FitError as error:
        raise ImageError(path, f"cannot be read so: {error}") from None
    image = open_image(stored, indices=indices, choice=how.planes, lenient=lenient)
    try:
        level, factor = _choice(image, how)
        return image if (level, factor) == (0, 1.0) else Rescaled(image, level, factor, nearest=indices)
    except ImageError:
        image.close()
        raise


def _choice(image: ImageReader, how: ReadAs) -> tuple[int, float]:
    """Return a level, and the side of a new pixel in pixels of that level."""
    if how.level is not None:
        if how.level >= (count := len(image.info.levels)):
            levels = f"levels 0 to {count - 1}" if count > 1 else "level 0"
            raise UnreadableAs(image.path, f"has no level {how.level}, only {levels}; give another --level, or --mpp")
        return how.level, 1.0
    if how.mpp is None or (image.info.mpp is None and not how.needs_scale):
        return 0, 1.0
    if image.info.mpp is None:
        raise UnreadableAs(
            image.path,
            f"does not say its microns per pixel, so it cannot be read at {how.mpp:g}; write the scale into the file, "
            "or leave out --mpp",
        )
    return level_of_scale(image.info, image.info.mpp, how.mpp)


def level_of_scale(info: ImageInfo, own: float, wanted: float) -> tuple[int, float]:
    """Return the level to read, and the side of a new pixel in pixels of that level.

    Args:
        info: Description of the image.
        own: Its microns per pixel.
        wanted: Microns per pixel to read it at.
    """
    scales = [own * level.downsample for level in info.levels]
    nearest = min(range(len(scales)), key=lambda number: abs(math.log(scales[number]) - math.log(wanted)))
    if same_scale(scales[nearest], wanted):
        return nearest, 1.0
    # A coarser level would lose detail that the image has.
    base = max((number for number, scale in enumerate(scales) if scale <= wanted), default=0)
    return base, wanted / scales[base]
