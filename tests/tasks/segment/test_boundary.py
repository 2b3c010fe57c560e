"""Boundaries counted strip by strip are those of an obvious computation over the whole image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fitcli.tasks.segment import boundary
from fitcli.tasks.segment.boundary import count_boundaries
from fitcli.tasks.segment.confusion import IGNORED

Pixels = set[tuple[int, int]]


def obvious_boundary(image: np.ndarray, truth: np.ndarray, value: int) -> Pixels:
    """The labelled pixels of a class beside a labelled pixel of another value."""
    height, width = image.shape
    found = set()
    for y in range(height):
        for x in range(width):
            around = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
            near = [place for place in around if 0 <= place[0] < height and 0 <= place[1] < width]
            beside = any(truth[place] != IGNORED and image[place] != value for place in near)
            if truth[y, x] != IGNORED and image[y, x] == value and beside:
                found.add((y, x))
    return found


def obvious_counts(truth: np.ndarray, predicted: np.ndarray, classes: int, tolerance: int) -> list[list[int]]:
    def hits(mine: Pixels, others: Pixels) -> int:
        return sum(any(abs(y - v) <= tolerance and abs(x - u) <= tolerance for v, u in others) for y, x in mine)

    rows = []
    for value in range(classes):
        true, found = (obvious_boundary(image, truth, value) for image in (truth, predicted))
        rows.append([len(true), hits(true, found), len(found), hits(found, true)])
    return rows


def blobs(rng: np.random.Generator, classes: int, height: int = 25, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A map of rectangles with places without a label, and another that is moved a little."""
    truth = np.zeros((height, width), np.uint8)
    for _ in range(12):
        y, x = rng.integers(0, height), rng.integers(0, width)
        truth[y : y + rng.integers(2, 12), x : x + rng.integers(2, 12)] = rng.integers(0, classes)
    predicted = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
    predicted[rng.random(truth.shape) < 0.02] = rng.integers(0, classes)
    predicted[:8, :8] = IGNORED
    y, x = rng.integers(0, 15, 2)
    truth[y : y + 9, x : x + 9] = IGNORED
    return truth, predicted


def strips(truth: np.ndarray, predicted: np.ndarray, heights: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    top = 0
    for height in heights:
        yield truth[top : top + height], predicted[top : top + height]
        top += height
    assert top == len(truth)


@pytest.mark.parametrize(("classes", "tolerance"), [(2, 0), (3, 1), (5, 2), (11, 3), (20, 40)])
def test_counts_are_those_of_an_obvious_computation(classes: int, tolerance: int) -> None:
    for seed in range(3):
        truth, predicted = blobs(np.random.default_rng([classes, seed]), classes)
        counts = count_boundaries([(truth, predicted)], classes, tolerance)
        assert counts.dtype == np.int64
        assert counts.tolist() == obvious_counts(truth, predicted, classes, tolerance)
        assert counts.any()


@pytest.mark.parametrize("tolerance", [0, 1, 2, 5, 30])
@pytest.mark.parametrize("heights", [[25], [1] * 25, [2, 1, 7, 15], [24, 1], [1, 24], [8, 8, 8, 1], [12, 0, 13]])
def test_strips_give_the_counts_of_the_whole(heights: list[int], tolerance: int) -> None:
    truth, predicted = blobs(np.random.default_rng(7), 4)
    whole = count_boundaries([(truth, predicted)], 4, tolerance)
    np.testing.assert_array_equal(count_boundaries(strips(truth, predicted, heights), 4, tolerance), whole)


@pytest.mark.parametrize("pixels", [1, 64, 100])
def test_high_strips_are_cut(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, predicted = blobs(np.random.default_rng(8), 4)
    whole = count_boundaries([(truth, predicted)], 4, 2)
    monkeypatch.setattr(boundary, "STRIP_PIXELS", pixels)
    np.testing.assert_array_equal(count_boundaries([(truth, predicted)], 4, 2), whole)


def test_equal_images_hit_everywhere() -> None:
    truth, _ = blobs(np.random.default_rng(9), 4)
    counts = count_boundaries([(truth, truth)], 4, 0)
    assert (counts == counts[:, :1]).all()
    assert counts.any()


def test_an_image_of_one_class_has_no_boundary() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:9] = IGNORED
    assert not count_boundaries([(truth, np.zeros_like(truth))], 2, 2).any()
    assert not count_boundaries([], 2, 2).any()
