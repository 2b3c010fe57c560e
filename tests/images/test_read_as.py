"""Which level of an image is read, and in pixels of which size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.errors import FitError, ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.read_as import ReadAs, level_of_scale, open_as
from fitcli.images.window import Window

SIDE = 1200


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 0.25 microns per pixel with three levels."""
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE // 2, 3)).astype(np.uint8)
    return save(tmp_path_factory.mktemp("images") / "a.tif", pixels, 0.25, compression="deflate", levels=3)


@pytest.mark.parametrize(
    ("how", "height", "mpp"),
    [
        (ReadAs(), 1200, 0.25),
        (ReadAs(level=0), 1200, 0.25),
        (ReadAs(level=2), 300, 1.0),
        (ReadAs(mpp=0.25), 1200, 0.25),
        (ReadAs(mpp=0.52), 600, 0.5),
        (ReadAs(mpp=0.6), 500, 0.6),
        (ReadAs(mpp=0.1), 3000, 0.1),
        (ReadAs(mpp=4.0), 75, 4.0),
    ],
)
def test_a_scale_is_that_of_a_level_or_resampled(image: Path, how: ReadAs, height: int, mpp: float) -> None:
    with open_as(image, how) as view:
        width = -(-height // 2)
        assert view.info.size == (height, width)
        assert view.info.mpp == pytest.approx(mpp)
        assert view.path == image
        assert view.read(Window(0, 0, height, height)).shape == (height, width, 3)


def test_levels_are_read_as_they_are(image: Path) -> None:
    window = Window(10, 20, 100, 100)
    with open_image(image) as stored, open_as(image, ReadAs(mpp=0.52)) as view:
        assert (view.read(window) == stored.read(window, 1)).all()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(0.26, (0, 0.65)), (0.41, (0, 1.0)), (0.75, (1, 1.0)), (1.2, (1, 1.5)), (1.65, (2, 1.0)), (6.4, (2, 4.0))],
)
def test_the_level_is_the_nearest_or_the_next_finer_one(wanted: float, expected: tuple[int, float]) -> None:
    levels = [np.zeros((side, side, 1), "u1") for side in (800, 800 // 2, 800 // 4)]
    level, factor = level_of_scale(ArrayReader(levels).info, 0.4, wanted)
    assert (level, factor) == (expected[0], pytest.approx(expected[1]))


def test_an_image_without_a_scale(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((8, 8, 1), np.uint8))
    with pytest.raises(ImageError, match=r"a\.png: does not say its microns per pixel.*write the scale.*--mpp"):
        open_as(path, ReadAs(mpp=0.5))
    with open_as(path, ReadAs(mpp=0.5, needs_scale=False)) as image:
        assert (image.info.size, image.info.mpp) == ((8, 8), None)
    with pytest.raises(ImageError, match=r"a\.png: has no level 2, only level 0; give another --level"):
        open_as(path, ReadAs(level=2))


@pytest.mark.parametrize(
    "choice",
    [
        {"level": 1, "mpp": 0.5},
        {"level": -1},
        {"level": 1.5},
        {"mpp": 0.0},
        {"mpp": float("nan")},
        {"mpp": float("inf")},
    ],
)
def test_impossible_choices(choice: dict[str, float]) -> None:
    with pytest.raises(FitError, match=r"--(level|mpp)"):
        ReadAs(**choice)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how", [ReadAs(), ReadAs(level=1), ReadAs(mpp=0.25), ReadAs(mpp=2.0), ReadAs(mpp=0.7)], ids=str
)
def test_indices_of_a_palette_stay_indices_at_every_scale(tmp_path: Path, how: ReadAs) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (90, 70, 1)).astype(np.uint8) * 7
    info = ImageInfo(height=90, width=70, channels=1, dtype=pixels.dtype, mpp=0.5, palette=((1, 2, 3),) * 8)
    path = tmp_path / "a.tif"
    with create_image(path, info, levels=2, resampling="nearest") as canvas:
        canvas.write(Window(0, 0, 90, 70), pixels)
    with open_as(path, how, indices=True) as image:
        assert image.info.palette[:8] == info.palette
        assert set(np.unique(image.read(Window(0, 0, 900, 900)))) == {0, 7}
