"""Laplacian pyramids against sums over single pixels, written another way."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.evaluation.quality.laplacian_pyramid import double, halve, laplacian_pyramid, level_sizes

WEIGHTS = (1, 4, 6, 4, 1)


def mirrored(place: int, length: int) -> int:
    """Return the pixel that stands for one beyond the edge."""
    place = abs(place)
    return place if place < length else 2 * (length - 1) - place


def slowly_filtered(image: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    filtered = np.zeros(image.shape)
    for row in range(height):
        for column in range(width):
            for down, first in enumerate(WEIGHTS):
                for right, second in enumerate(WEIGHTS):
                    seen = image[mirrored(row + down - 2, height), mirrored(column + right - 2, width)]
                    filtered[row, column] += first * second / 256 * seen
    return filtered


@pytest.mark.parametrize("size", [(16, 16), (17, 22), (35, 32)])
def test_levels_are_what_halving_and_doubling_lose(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((*size, 2)).astype(np.float32)
    smaller = slowly_filtered(image)[::2, ::2]
    spread = np.zeros((*size, 2))
    spread[::2, ::2] = smaller
    larger = 4 * slowly_filtered(spread)
    np.testing.assert_allclose(halve(image), smaller, atol=1e-6)
    np.testing.assert_allclose(double(halve(image), size), larger, atol=1e-6)
    levels = laplacian_pyramid(image)
    assert [level.shape[:2] for level in levels] == level_sizes(size)
    if len(levels) > 1:
        np.testing.assert_allclose(levels[0], image - larger, atol=1e-6)


def test_an_image_comes_back_from_its_levels() -> None:
    image = np.random.default_rng(1).random((70, 64, 3)).astype(np.float32)
    levels = laplacian_pyramid(image)
    assert level_sizes((70, 64)) == [(70, 64), (35, 32), (18, 16)]
    rebuilt = levels[-1]
    for level in levels[-2::-1]:
        rebuilt = level + double(rebuilt, level.shape[:2])
    np.testing.assert_allclose(rebuilt, image, atol=1e-6)


def test_a_small_image_is_its_only_level() -> None:
    image = np.ones((15, 40, 1), np.float32)
    (level,) = laplacian_pyramid(image)
    assert level is image
