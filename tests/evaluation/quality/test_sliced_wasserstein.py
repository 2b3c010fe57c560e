"""Sliced Wasserstein distances against sorted Python lists, and where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.evaluation.quality import sliced_wasserstein
from fitcli.evaluation.quality.sliced_wasserstein import (
    AT_ONCE,
    MOST_PER_CROP,
    SIDE,
    descriptors_per_crop,
    distance,
    draw_descriptors,
    random_directions,
    sliced_distances,
)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def descriptors(count: int, seed: int, channels: int = 2) -> np.ndarray:
    return random(seed).standard_normal((count, SIDE, SIDE, channels)).astype(np.float32)


def slow_distance(first: np.ndarray, second: np.ndarray, directions: np.ndarray) -> float:
    """Move the projections one by one to those of the same rank."""
    totals = []
    for direction in directions.T:
        ours, theirs = (sorted(float(np.dot(each, direction)) for each in points) for points in (first, second))
        totals.append(sum(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / len(ours))
    return sum(totals) / len(totals)


def test_projections_move_to_those_of_the_same_rank() -> None:
    first, second = (random(seed).standard_normal((30, 5)).astype(np.float32) for seed in (1, 2))
    directions = random_directions(5, random())
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1, rtol=1e-6)
    some = directions[:, : AT_ONCE + 3]
    assert distance(first, second, some) == pytest.approx(slow_distance(first, second, some), rel=1e-5)
    assert distance(first, first[::-1].copy(), some) == 0


def test_a_shift_is_as_far_as_its_projections_are_long() -> None:
    points, shift = random(3).standard_normal((50, 4)).astype(np.float32), np.array([0, 3, 0, 0], np.float32)
    directions = random_directions(4, random())
    assert distance(points, points + shift, directions) == pytest.approx(3 * np.abs(directions[1]).mean(), rel=1e-5)


def test_channels_are_normalised_by_the_real_sets() -> None:
    real = descriptors(40, 1), descriptors(40, 2)
    found = sliced_distances(descriptors(40, 3), real, random(9))
    scaled = [np.array([2, 100], np.float32) * each + 7 for each in (descriptors(40, 3), *real)]
    again = sliced_distances(scaled[0], (scaled[1], scaled[2]), random(9))
    assert again[:2] == pytest.approx(found[:2], rel=1e-4)
    both = np.concatenate(real).astype(np.float64)
    mean, deviation = both.mean(axis=(0, 1, 2)), both.std(axis=(0, 1, 2))
    flat = [((each - mean) / deviation).reshape(40, -1) for each in (descriptors(40, 3), *real)]
    directions = random_directions(SIDE**2 * 2, random(9))
    expected = (slow_distance(flat[0], flat[1], directions) + slow_distance(flat[0], flat[2], directions)) / 2
    assert found.generated == pytest.approx(expected, rel=1e-4)
    assert found.real == pytest.approx(slow_distance(flat[1], flat[2], directions), rel=1e-4)


def test_dull_and_dark_images_are_far_away() -> None:
    real = descriptors(400, 1), descriptors(400, 2)
    same = sliced_distances(descriptors(400, 3), real, random())
    assert same.generated / same.real == pytest.approx(1, abs=0.05)
    for changed in (descriptors(400, 3) / 2, descriptors(400, 3) - 1):
        found = sliced_distances(changed, real, random())
        assert found.generated / found.real > 3


def test_a_channel_without_contrast_is_left_as_it_is() -> None:
    flat = np.ones((9, SIDE, SIDE, 1), np.float32)
    assert sliced_distances(flat, (flat, flat), random())[:2] == (0, 0)


def test_descriptors_are_neighbourhoods_of_a_level() -> None:
    level = np.arange(9 * 8 * 2, dtype=np.float32).reshape(9, 8, 2)
    drawn = draw_descriptors(level, 50, random())
    assert drawn.shape == (50, SIDE, SIDE, 2)
    places = set()
    for each in drawn:
        row, column = divmod(int(each[0, 0, 0]) // 2, 8)
        places.add((row, column))
        np.testing.assert_array_equal(each, level[row : row + SIDE, column : column + SIDE])
    assert places == {(row, column) for row in range(3) for column in range(2)}


def test_descriptors_of_many_crops_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert descriptors_per_crop(10, 3, 1) == MOST_PER_CROP
    monkeypatch.setattr(sliced_wasserstein, "SET_BYTES", 10 * 3 * 4 * SIDE**2 * 4 * 5)
    assert descriptors_per_crop(10, 3, 4) == 5
    assert descriptors_per_crop(10**6, 3, 4) == 1
