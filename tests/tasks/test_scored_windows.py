"""An image is scored as a whole or in windows of the trained size, without those that are too small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.tasks.scored_windows import scored_parts


def numbered(height: int, width: int) -> ArrayReader:
    """An image whose pixels are all different."""
    image = ArrayReader(np.arange(height * width, dtype=np.uint16).reshape(height, width, 1))
    image.path = Path("image.tif")
    return image


def test_the_whole_image_is_one_part() -> None:
    image = numbered(13, 9)
    assert list(scored_parts(image, None)) == [image]


def test_windows_lie_side_by_side_and_end_with_the_image() -> None:
    image = numbered(13, 9)
    parts = [part.read(Window(0, 0, *part.info.size))[..., 0] for part in scored_parts(image, (8, 6))]
    assert [part.shape for part in parts] == [(8, 6), (8, 3), (5, 6), (5, 3)]
    joined = np.block([[parts[0], parts[1]], [parts[2], parts[3]]])
    np.testing.assert_array_equal(joined, image.read(Window(0, 0, 13, 9))[..., 0])


def test_windows_that_are_too_small_are_left_out() -> None:
    assert [part.info.size for part in scored_parts(numbered(13, 9), (8, 6), least=(6, 3))] == [(8, 6), (8, 3)]
    assert [part.info.size for part in scored_parts(numbered(13, 9), (8, 6), least=(8, 6))] == [(8, 6)]


def test_images_without_a_window_are_refused() -> None:
    with pytest.raises(ImageError, match="is 9 x 13 pixels, the model needs 10 x 4; leave it out"):
        list(scored_parts(numbered(13, 9), (8, 10), least=(4, 10)))
    many = numbered(2, 2)
    object.__setattr__(many, "info", _Endless(many.info))
    with pytest.raises(ImageError, match="at most 1,048,576 are scored"):
        list(scored_parts(many, (1, 1)))


class _Endless:
    """The header of an image of more windows than are scored."""

    def __init__(self, info: object) -> None:
        self.size = (2**20 + 1, 1)
