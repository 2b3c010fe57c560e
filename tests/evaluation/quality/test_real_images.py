"""Windows of real images are in the pixels of the model, wherever they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.data.dataset import Sample
from fitcli.distributed.image_queue import ImageQueue
from fitcli.evaluation.quality.real_images import RealImages
from fitcli.images.window import Window
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.encoding.image_opener import ImageOpener

PIXELS = Preprocessing(channels=1, dtype="uint8", mean=(0.0,), std=(1.0,), limits=(0, 255))


def real_images() -> RealImages:
    return RealImages(ImageOpener(ImageQueue(), PIXELS), PIXELS, seed=1)


def test_values_and_pixels(tmp_path: Path) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8, 1) * 5
    path = save(tmp_path / "a.png", pixels)
    real = real_images()
    assert real.size(Sample(path, 0)) == (6, 8)
    with real.opener.open(path) as image:
        window = Window(1, 2, 3, 4)
        present = real.present(image, window)
        assert present is not None
        np.testing.assert_array_equal(present, pixels[1:4, 2:6])
        np.testing.assert_allclose(real.values(image, window), pixels[1:4, 2:6] / 255, atol=1e-6)


def test_windows_of_training_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    trained = [Sample(save(tmp_path / f"{n}.png", rng.integers(0, 256, (64, 48, 1), np.uint8)), 0) for n in range(3)]
    trained.append(Sample(save(tmp_path / "small.png", np.zeros((8, 8, 1), np.uint8)), 0))
    real = real_images()
    every = [window for _, window in real.trained_windows(trained, (16, 16), 10**9)]
    assert every, "there are windows"
    assert all(window.clip(64, 48) == window for window in every)
    few = [window for _, window in real.trained_windows(trained, (16, 16), 1)]
    assert 1 <= len(few) < len(trained), "about one place in all: not even one window of each image"
    assert not list(real.trained_windows([], (16, 16), 100))


@pytest.mark.parametrize("most", [1, 4, 9])
def test_windows_with_missing_pixels_are_replaced_by_others_of_the_image(tmp_path: Path, most: int) -> None:
    pixels = np.full((64, 64, 1), 200, np.uint8)
    pixels[10:30, 5:50] = 0
    path = save(tmp_path / "a.tif", pixels, nodata=0)
    marked = replace(PIXELS, rules=2, mean=(128.0,), std=(50.0,))
    real = RealImages(ImageOpener(ImageQueue(), marked), marked, seed=1)
    with real.opener.open(path) as image:
        found = list(real.present_windows(image, (16, 16), most, "windows", 0))
        assert np.isnan(real.values_or_nan(image, Window(9, 4, 3, 3))).sum() == 4
    # Rows 32 to 63 alone have at least 4 disjoint windows in any grid.
    assert min(most, 4) <= len(found) <= most
    assert all((each == 200).all() for each in found)
