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
from fitcli.patches import background
from fitcli.patches.background import almost_all_left_out, foreground
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import CURRENT_RULES, Preprocessing

GRID = PatchGrid((512, 768), 16, 8)  # 4 x 6 groups of 128 pixels


def pixels_of(
    dtype: str, limits: tuple[float, float] | None = None, channels: int = 3, rules: int = 1
) -> Preprocessing:
    statistics = (0.0,) * channels, (1.0,) * channels
    return Preprocessing(
        channels=channels, dtype=dtype, mean=statistics[0], std=statistics[1], limits=limits, rules=rules
    )


OLD_RGB = pixels_of("uint8")


def slide(dtype: str = "uint8", scale: float = 1.0) -> np.ndarray:
    """Return white pixels with a little noise and two objects: one fills a group, one has 16 pixels in another."""
    pixels = np.random.default_rng(0).normal(240, 2, (512, 768, 3))
    pixels[128:256, 256:384] = np.random.default_rng(1).uniform(0, 200, (128, 128, 3)).repeat(1, 0)
    pixels[128:256, 256:320] *= 0.5
    pixels[400:416, 700:716] = 90
    return (pixels * scale).astype(dtype)


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1), ("uint16", 257), ("float32", 0.01), ("float32", 1e4)])
def test_groups_with_something_on_them_are_kept(dtype: str, scale: float) -> None:
    """By the range of the dtype or the image, as in runs of earlier versions, and by that of the training images."""
    image = ArrayReader(slide(dtype, scale))
    for rules, limits in ((1, None), (CURRENT_RULES, (0.0, 255 * scale))):
        assert foreground(image, GRID, 0.05, pixels_of(dtype, limits, rules=rules)) == [(1, 2), (3, 5)]


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

        assert foreground(Watched(image), GRID, 0.05, OLD_RGB) == [(1, 2), (3, 5)]
        # A group has 128 pixels and 16 cells per side: at 1/8 of the size each cell still has a pixel.
        assert {level for level, _ in read} == {3}
        assert sum(area for _, area in read) <= 512 * 768 / 64


def test_an_empty_image_keeps_one_group() -> None:
    image, grid = ArrayReader(np.full((300, 300, 1), 7, np.uint8)), PatchGrid((300, 300), 16, 8)
    assert foreground(image, grid, 0.02, pixels_of("uint8", channels=1)) == [(0, 0)]


def test_missing_pixels_are_no_variation() -> None:
    pixels = np.full((256, 256, 1), 5.0, np.float32)
    pixels[:100, :100] = np.nan
    pixels[200:, 200:] = 50.0
    for rules, limits in ((1, None), (CURRENT_RULES, (0.0, 100.0))):
        found = pixels_of("float32", limits, channels=1, rules=rules)
        assert foreground(ArrayReader(pixels), PatchGrid((256, 256), 16, 8), 0.02, found) == [(1, 1)]


@pytest.mark.parametrize("nodata", [-9999.0, -3.4028234663852886e38, float("nan"), 7.0])
@pytest.mark.parametrize("dtype", ["int16", "float32", "float64", "uint8"])
def test_nodata_is_no_variation(dtype: str, nodata: float) -> None:
    """One group varies, one is half missing and constant elsewhere, one is all missing, one is constant."""
    kind = np.dtype(dtype)
    value = 7.0 if kind == "uint8" or (kind.kind == "i" and not -(2**15) <= nodata < 2**15) else nodata
    pixels = np.full((256, 256, 1), 50, kind)
    pixels[:64, :128] = pixels[:128, 128:] = kind.type(value)
    pixels[130:190, 140:200] = 90
    expecting = pixels_of(dtype, (0.0, 255.0), channels=1, rules=CURRENT_RULES)
    image, grid = ArrayReader(pixels, nodata=value), PatchGrid((256, 256), 16, 8)
    assert foreground(image, grid, 0.02, expecting) == [(1, 1)]
    assert len(foreground(ArrayReader(pixels), grid, 0.02, expecting)) == 1 + (not np.isnan(value))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint16", 0, 1023),
        ("uint16", 300, 1500),
        ("int32", 1e9, 1e9 + 5e4),
        ("float32", 0, 1e-8),
        ("float64", -1e8, 1e8),
    ],
)
def test_the_threshold_is_a_share_of_the_range_of_the_training_pixels(dtype: str, low: float, high: float) -> None:
    """An image keeps what it keeps with 8 bits, whichever way it is stored."""
    rows, columns = np.mgrid[:512, :768]
    # From group to group on the right, brightness rises more within a group: by 0 ... 20 of 255.
    smooth = (100 + (rows % 128) / 128 * 4 * (columns // 128)).astype(np.uint8)[..., None]
    expected = foreground(ArrayReader(smooth), GRID, 0.02, pixels_of("uint8", (0.0, 255.0), 1, CURRENT_RULES))
    assert {column for _, column in expected} == {2, 3, 4, 5}
    stored = (low + smooth.astype(np.float64) * (high - low) / 255).astype(dtype)
    found = pixels_of(dtype, (float(low), float(high)), 1, CURRENT_RULES)
    assert foreground(ArrayReader(stored), GRID, 0.02, found) == expected


def test_a_file_of_another_depth_is_measured_in_the_units_of_the_model() -> None:
    image = ArrayReader(slide())
    assert foreground(image, GRID, 0.05, pixels_of("uint16", (0.0, 65535.0), rules=CURRENT_RULES)) == [(1, 2), (3, 5)]


@pytest.mark.parametrize(("kept", "groups", "expected"), [(1, 1, False), (1, 3, False), (1, 16, True), (2, 16, False),
                                                          (20, 1000, True), (21, 1000, False)])  # fmt: skip
def test_almost_all_is_one_group_or_two_percent(kept: int, groups: int, expected: bool) -> None:
    assert almost_all_left_out(kept, groups) is expected


def test_images_smaller_than_a_group_or_of_odd_size() -> None:
    for size in [(1, 1), (3, 200), (129, 127), (1000, 5)]:
        pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        grid = PatchGrid(size, 16, 8)
        assert set(foreground(ArrayReader(pixels), grid, 0.02, OLD_RGB)) <= set(grid.coordinates())


def test_strips_are_read_in_parts_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).normal(size=(70, 130, 5)).astype("f4")
    pixels[16:32, 32:64] = 0
    grid = PatchGrid((70, 130), 4, 4)
    trained = Preprocessing(channels=5, dtype="float32", mean=(0.0,) * 5, std=(1.0,) * 5, limits=(-4.0, 4.0), rules=2)
    expected = foreground(ArrayReader(pixels), grid, 0.02, trained)
    assert len(expected) == grid.count - 2
    for values in (1, 16 * 16 * 5 * 3):
        monkeypatch.setattr(background, "STRIP_VALUES", values)
        assert foreground(ArrayReader(pixels), grid, 0.02, trained) == expected
