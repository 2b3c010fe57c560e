"""Chooses the size of a generated image from the command line options."""

from __future__ import annotations

from fitcli.errors import FitError


def choose_sides(res: int | None, height: int | None, width: int | None) -> tuple[int | None, int | None]:
    """Return (height, width) of the image, in pixels; None for a side that is not given.

    Raises:
        FitError: The options contradict each other.
    """
    if res is not None and (height is not None or width is not None):
        raise FitError("--res is height and width in one; give either --res, or --height and --width")
    return (res, res) if res is not None else (height, width)


def choose_size(
    res: int | None, height: int | None, width: int | None, trained: tuple[int, int], enlarging: bool, repainting: bool
) -> tuple[int, int]:
    """Return (height, width) of the image, in pixels.

    Args:
        res, height, width: The options.
        trained: (height, width) of the training images.
        enlarging: Whether an initial image is given.
        repainting: Whether a window of this image is repainted.

    Raises:
        FitError: The options contradict each other.
    """
    given = any(side is not None for side in (res, height, width))
    if repainting and not enlarging:
        raise FitError("--window is of an image: give --image FILE too")
    if repainting and given:
        raise FitError("--window repaints a part of an image of its own size; leave out --res, --height and --width")
    height, width = choose_sides(res, height, width)
    if (height is None) != (width is None):
        raise FitError("--height and --width belong together; give both, or --res")
    if enlarging and not repainting and not given:
        raise FitError("--image: give --res to enlarge it, or --window to repaint a part of it")
    return trained if height is None or width is None else (height, width)
