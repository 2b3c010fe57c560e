"""Copies of training images are found, wherever they lie and however they are turned."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.evaluation.quality.laplacian_pyramid import Values
from fitcli.evaluation.quality.nearest import NearestSearch, nearness, places_of, shrink, shrink_factor


def textures(count: int, side: int, seed: int) -> Values:
    """Return images of random spots of some pixels."""
    random = np.random.default_rng(seed)
    coarse = random.random((count, side // 4, side // 4, 1)).astype(np.float32)
    return np.kron(coarse, np.ones((1, 4, 4, 1), np.float32))


def distances(crops: Values, windows: Values, turned: bool = False) -> np.ndarray:
    crop = crops.shape[1:3]
    thumbs = np.stack([shrink(each, shrink_factor(crop)) for each in crops])
    search = NearestSearch(thumbs, crop, turned)
    for window in windows:
        search.add(window)
    return search.distances()


def test_the_distance_is_that_of_the_nearest_place() -> None:
    random = np.random.default_rng(0)
    crops, windows = (random.random((count, *size, 2)).astype(np.float32) for count, size in
                      ((3, (16, 18)), (2, (20, 21))))  # fmt: skip
    found = distances(crops, windows)
    for crop, least in zip(crops, found, strict=True):
        each = [
            np.sqrt(np.square(crop - window[top : top + 16, left : left + 18]).mean())
            for window in windows
            for top in range(5)
            for left in range(4)
        ]
        assert least == pytest.approx(min(each), rel=1e-4)


def test_copies_are_found_at_any_place_and_others_are_not() -> None:
    trained, unseen = textures(6, 128, 1), textures(6, 128, 2)
    places = [(0, 0), (5, 1), (64, 64), (31, 62), (17, 3), (63, 0)]
    copies = np.stack(
        [image[top : top + 64, left : left + 64] for image, (top, left) in zip(trained, places, strict=True)]
    )
    real = unseen[:, :64, :64]
    copied, others = distances(copies, trained), distances(real, trained)
    assert copied[0] == pytest.approx(0, abs=1e-3)
    assert copied.max() < 0.6 * others.min()
    found = nearness(copied, others)
    assert found.nearer == 1
    assert found.generated == np.median(copied) < found.real == np.median(others)
    assert nearness(distances(unseen[:, 64:, 64:], trained), others).nearer < 0.5


def test_turned_copies_are_found_if_training_turned_images() -> None:
    trained = textures(4, 32, 3)
    copies = np.stack([np.rot90(trained[0]), trained[1][:, ::-1], np.rot90(trained[2], 2)[:, ::-1], trained[3]])
    assert distances(copies, trained, turned=True) == pytest.approx(np.zeros(4), abs=1e-3)
    assert (distances(copies, trained)[:3] > 0.1).all()


def test_places_are_counted() -> None:
    assert places_of((20, 21), (16, 18)) == 5 * 4
    assert places_of((16, 16), (16, 16)) == 1
    assert places_of((15, 40), (16, 16)) == 0
    # Shrunk by 4, on grids that begin at 0 and at 2, along both axes.
    assert places_of((128, 64), (64, 64)) == 17 + 16
    assert shrink_factor((64, 80)) == 4


def test_without_windows_nothing_is_near() -> None:
    assert np.isinf(distances(textures(2, 16, 1), textures(0, 16, 2))).all()
