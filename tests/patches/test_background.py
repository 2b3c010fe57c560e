"""Groups whose pixels do not vary are background, and are left out without being decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader, Pixels
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.background import foreground
from fitcli.patches.grid import PatchGrid

GRID = PatchGrid((512, 768), 16, 8)  # 4 x 6 groups of 128 pixels


def slide(dtype: str = "uint8", scale: float = 1.0) -> np.ndarray:
    """Return white pixels with a little noise and two objects: one fills a group, one has 16 pixels in another."""
    pixels = np.random.default_rng(0).normal(240, 2, (512, 768, 3))
    pixels[128:256, 256:384] = np.random.default_rng(1).uniform(0, 200, (128, 128, 3)).repeat(1, 0)
    pixels[128:256, 256:320] *= 0.5
    pixels[400:416, 700:716] = 90
    return (pixels * scale).astype(dtype)


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1), ("uint16", 257), ("float32", 0.01), ("float32", 1e4)])
def test_groups_with_something_on_them_are_kept(dtype: str, scale: float) -> None:
    assert foreground(ArrayReader(slide(dtype, scale)), GRID, 0.05) == [(1, 2), (3, 5)]


def test_only_a_small_level_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "slide.tif", slide(), chunk=64)
    with open_image(path) as image:
        read: list[tuple[int, int]] = []

        class Watched(ArrayReader):
            def __init__(self, inner: ImageReader) -> None:
                self.inner, self.info, self.path = inner, inner.info, inner.path

            def read(self, window: Window, level: int = 0) -> Pixels:
                read.append((level, window.area))
                return self.inner.read(window, level)

        assert foreground(Watched(image), GRID, 0.05) == [(1, 2), (3, 5)]
        # A group has 128 pixels and 16 cells per side: at 1/8 of the size each cell still has a pixel.
        assert {level for level, _ in read} == {3}
        assert sum(area for _, area in read) <= 512 * 768 / 64


def test_an_empty_image_keeps_one_group() -> None:
    assert foreground(ArrayReader(np.full((300, 300, 1), 7, np.uint8)), PatchGrid((300, 300), 16, 8), 0.02) == [(0, 0)]


def test_missing_pixels_are_no_variation() -> None:
    pixels = np.full((256, 256, 1), 5.0, np.float32)
    pixels[:100, :100] = np.nan
    pixels[200:, 200:] = 50.0
    assert foreground(ArrayReader(pixels), PatchGrid((256, 256), 16, 8), 0.02) == [(1, 1)]


def test_images_smaller_than_a_group_or_of_odd_size() -> None:
    for size in [(1, 1), (3, 200), (129, 127), (1000, 5)]:
        pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        grid = PatchGrid(size, 16, 8)
        assert set(foreground(ArrayReader(pixels), grid, 0.02)) <= set(grid.coordinates())
