"""Which parts of an image are scored: what the model was trained to see at once."""

from __future__ import annotations

from collections.abc import Iterator

from fitcli.errors import ImageError
from fitcli.images.base import ImageReader
from fitcli.images.crop import Crop
from fitcli.images.window import Window
from fitcli.memory.size_checks import check_pixels

MOST_WINDOWS = 1 << 20
"""Of one image: at 256 x 256 pixels those of 69 gigapixels."""


def scored_parts(
    image: ImageReader, size: tuple[int, int] | None, least: tuple[int, int] = (1, 1)
) -> Iterator[ImageReader]:
    """The image itself, or windows side by side over it.

    Args:
        image: Open.
        size: (height, width) of the windows, less where the image ends; None for the whole image.
        least: What is lower or narrower is left out.

    Raises:
        ImageError: Nothing is left, the whole image is more than free memory holds, or it has more than `MOST_WINDOWS`.
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
    rows, columns = (-(-places.stop // places.step) for places in (tops, lefts))  # more than `len` may tell
    if rows * columns > MOST_WINDOWS:
        raise ImageError(
            image.path,
            f"is {width} x {height} pixels, {rows * columns:,} windows of {size[1]} x {size[0]}; at most "
            f"{MOST_WINDOWS:,} are scored: evaluate a part of it",
        )
    for top in tops:
        for left in lefts:
            yield Crop(image, Window(top, left, *size))
