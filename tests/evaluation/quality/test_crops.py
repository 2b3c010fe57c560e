"""Crops are disjoint, lie within their image, and leave what the figures need."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.evaluation.quality.crops import CropSet, cells, disjoint_windows, even_choice, parted, sides_within
from fitcli.evaluation.quality.laplacian_pyramid import laplacian_pyramid
from fitcli.patches.value_range import PixelRange

BYTES = PixelRange(0, 255, np.dtype(np.uint8))


@pytest.mark.parametrize(("size", "crop", "most"), [((70, 45), (16, 10), 100), ((64, 64), (64, 64), 3),
                                                    ((70, 45), (16, 10), 5)])  # fmt: skip
def test_windows_are_disjoint_and_inside(size: tuple[int, int], crop: tuple[int, int], most: int) -> None:
    windows = disjoint_windows(size, crop, most, np.random.default_rng(0))
    assert len(windows) == min(most, cells(size, crop))
    covered = np.zeros(size, int)
    for window in windows:
        assert (window.height, window.width) == crop
        assert window.clip(*size) == window
        covered[window.slices()] += 1
    assert covered.max() == 1


def test_a_small_image_has_no_window() -> None:
    assert not disjoint_windows((15, 40), (16, 16), 4, np.random.default_rng(0))


def test_images_belong_to_the_two_real_sets_in_turn() -> None:
    crops = [np.zeros((8, 8, 1), np.uint8) for _ in range(3)]
    assert [part for part, _ in parted(crops, 3, 4)] == [1, 1, 1]
    assert [part for part, _ in parted(crops, 0, 1)] == [0, 1, 0], "a single image is shared out"
    assert even_choice(10, 4) == [0, 2, 5, 7]
    assert even_choice(2, 4) == [0, 0, 1, 1]


def test_crops_fit_into_all_images_unless_those_are_tiny() -> None:
    assert sides_within([(64, 80), (40, 90)], (50, 70), 16) == (40, 70)
    assert sides_within([(64, 80), (9, 12)], (50, 70), 16) == (16, 16)
    assert sides_within([(64, 80)], (12, 12), 16) == (12, 12)


def test_a_set_keeps_descriptors_thumbs_and_vectors() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 2), np.uint8)
    sets = [CropSet(name, (32, 40), BYTES, 3, vector_of=lambda crop: [float(crop.max()), 1.0]) for name in "aab"]
    for each in sets:
        for crop in pixels:
            each.add(crop)
    first, same, other = sets
    assert len(first) == 3
    levels = [laplacian_pyramid(crop.astype(np.float32) / 255) for crop in pixels]
    for number, side in enumerate((32, 16)):
        chosen = first.level(number, [0, 2])
        assert chosen.shape == (2 * 128, 7, 7, 2)
        assert levels[0][number].shape[0] == side
        assert set(np.unique(chosen)) <= set(np.unique([levels[0][number], levels[2][number]]))
        np.testing.assert_array_equal(chosen, same.level(number, [0, 2]))
        assert not np.array_equal(chosen, other.level(number, [0, 2])), "other places"
    assert first.chosen_vectors([1]).tolist() == [[float(pixels[1].max()), 1]]
    assert first.thumbs[0].shape == (16, 20, 2)
    assert first.thumbs[0][0, 0, 0] == pytest.approx(pixels[0, :2, :2, 0].mean() / 255)
