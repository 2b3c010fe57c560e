"""Opens an image the way a user or a run wants it read: the one place where such choices are applied."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from fitcli.errors import FitError, ImageError, UnreadableAs
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.open import open_image
from fitcli.images.rescaled import Rescaled
from fitcli.images.scale import same_scale


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadAs:
    """What is read of a file.

    Attributes:
        level: Pyramid level that is read as level 0; None for the whole pyramid.
        mpp: Microns per pixel at which the image is read; None for its own.
        needs_scale: Whether `mpp` refuses an image without a known scale; otherwise it is read as it is.

    Raises:
        FitError: Both a level and a scale are given, or one of them is impossible.
    """

    level: int | None = None
    mpp: float | None = None
    needs_scale: bool = True

    def __post_init__(self) -> None:
        if self.level is not None and self.mpp is not None:
            raise FitError("--level and --mpp both choose the size of the pixels; give one of them")
        if self.level is not None and not (isinstance(self.level, int) and self.level >= 0):
            raise FitError(f"--level must be an integer of at least 0, not {self.level}")
        if self.mpp is not None and not 0 < self.mpp < math.inf:
            raise FitError(f"--mpp must be above 0 and finite, not {self.mpp}")


AS_STORED = ReadAs()
"""The whole file."""


def open_as(path: str | Path, how: ReadAs = AS_STORED) -> ImageReader:
    """Open an image as it is to be read. See `open_image`.

    With a scale, this is the level nearest to it if they differ by no more than a tenth; otherwise the smallest level
    that is at least as fine, resampled.

    Raises:
        UnreadableAs: The image does not have the level or a scale, or not one that can become that of `how`.
        ImageError: The image cannot be opened.
    """
    image = open_image(path)
    try:
        level, factor = _choice(image, how)
        return image if (level, factor) == (0, 1.0) else Rescaled(image, level, factor)
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
