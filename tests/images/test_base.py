"""The description of an image, and the context manager of a writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fitcli.images.base import ImageInfo, ImageWriter, Level, Pixels
from fitcli.images.window import Window


def test_description_is_completed() -> None:
    info = ImageInfo(height=20, width=30, channels=3, dtype=np.dtype(">u2"))
    assert info.dtype == np.dtype("=u2")
    assert info.dtype.isnative
    assert info.levels == (Level(20, 30, 1.0),)
    assert info.size == (20, 30)


@pytest.mark.parametrize("size", [(0, 5, 1), (5, 0, 1), (5, 5, 0), (-1, 5, 1)])
def test_images_without_pixels_are_refused(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="an image cannot be"):
        ImageInfo(height=size[0], width=size[1], channels=size[2], dtype=np.dtype("u1"))


class Recorder(ImageWriter):
    def __init__(self) -> None:
        self.path, self.calls = Path("image"), list[str]()

    def write(self, window: Window, pixels: Pixels) -> None:
        self.calls.append("write")

    def close(self) -> None:
        self.calls.append("close")

    def discard(self) -> None:
        self.calls.append("discard")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_discards_the_image(error: type[BaseException]) -> None:
    with Recorder() as good:
        good.write(Window(0, 0, 0, 0), np.zeros((0, 0, 1)))
    assert good.calls == ["write", "close"]
    bad = Recorder()
    with pytest.raises(error), bad:
        raise error
    assert bad.calls == ["discard"]
