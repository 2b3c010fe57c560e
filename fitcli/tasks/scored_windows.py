"""Cuts an image into the windows that `fit evaluate` scores, which have the size that the model was trained on."""

from __future__ import annotations

from collections.abc import Iterator

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.images.crop import Crop
from fitcli.images.window import Window
from fitcli.memory.size_checks import check_pixels

MOST_WINDOWS = 1 << 20
"""Largest number of windows of one image. Windows of 256 x 256 pixels then cover 69 gigapixels."""

NO_PIXELS = "holds missing pixels only (nodata, NaN or infinity), so there is nothing to score; leave it out"
"""Reason why an image has no score."""


def scored_parts(
    image: ImageReader, size: tuple[int, int] | None, least: tuple[int, int] = (1, 1)
) -> Iterator[ImageReader]:
    """Yield the image itself, or windows side by side over it.

    Args:
        image: The open image.
        size: (height, width) of the windows; those at the lower and right edge may be smaller. None for the whole
            image.
        least: Smallest (height, width) of a window; smaller windows are left out.

    Raises:
        ImageError: The image is smaller than `least`, does not fit into free memory as a whole, or has more than
            `MOST_WINDOWS` windows.
    """
    height, width = image.info.size
    if height < least[0] or width < least[1]:
        raise ImageError(
            image.path, f"is {width} x {height} pixels, the model needs {least[1]} x {least[0]}; leave it out"
        )
    if size is None:
        check_pixels(image, image.info.size, "evaluate smaller images")
        yield image
        return
    tops, lefts = range(0, height - least[0] + 1, size[0]), range(0, width - least[1] + 1, size[1])
    rows, columns = (-(-starts.stop // starts.step) for starts in (tops, lefts))  # `len` overflows for huge sides.
    if rows * columns > MOST_WINDOWS:
        raise ImageError(
            image.path,
            f"is {width} x {height} pixels, {rows * columns:,} windows of {size[1]} x {size[0]}; at most "
            f"{MOST_WINDOWS:,} are scored: evaluate a part of it",
        )
    for top in tops:
        for left in lefts:
            yield Crop(image, Window(top, left, *size))
