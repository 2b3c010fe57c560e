"""Positions of classes: every pixel of a class is as likely, and strips do not matter."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from fitcli.annotations.class_positions import MOST_POSITIONS, POSITIONS, ClassPositions, Positions
from fitcli.annotations.label_values import Value, count_values
from fitcli.images.window import Window

LABELS = np.random.default_rng(0).choice([0, 1, 2, 3], (300, 200, 1), p=[0.899, 0.1, 0.0008, 0.0002]).astype(np.uint8)


def drawn(labels: NDArray[np.generic], rows: int, nodata: float | None = None) -> dict[Value, Positions]:
    positions = ClassPositions()
    for top in range(0, len(labels), rows):
        strip = labels[top : top + rows]
        window = Window(top, 0, len(strip), labels.shape[1])
        positions.add(strip, window, count_values(strip, nodata).pixels)
    return positions.found()


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_positions_are_pixels_of_their_class(dtype: str) -> None:
    labels = LABELS.astype(dtype)
    found = drawn(labels, 37, nodata=0)
    assert sorted(found) == [1, 2, 3]
    for value, positions in found.items():
        pixels = {tuple(pixel[:2]) for pixel in np.argwhere(labels == value).tolist()}
        mine = [tuple(position) for position in positions.tolist()]
        assert len(set(mine)) == len(mine) == min(POSITIONS, len(pixels))
        assert set(mine) <= pixels
        assert mine == sorted(mine)
    assert len(found[3]) < POSITIONS == len(found[2]), "a class of few pixels has all of them"


def test_strips_do_not_matter() -> None:
    whole = drawn(LABELS, 300)
    for rows in (1, 7, 150):
        parts = drawn(LABELS, rows)
        assert parts.keys() == whole.keys()
        for value, positions in whole.items():
            np.testing.assert_array_equal(parts[value], positions)


def test_every_pixel_is_as_likely() -> None:
    """The seed of a class is its value, so that other values draw other pixels."""
    quarters, columns = np.zeros(4), np.zeros(4)
    for value in range(200):
        (positions,) = drawn(np.full((64, 256, 1), value, np.uint8), 5).values()
        quarters += np.bincount(positions[:, 0] // 16, minlength=4)
        columns += np.bincount(positions[:, 1] // 64, minlength=4)
    expected = 200 * POSITIONS / 4
    for counts in (quarters, columns):
        # 16.3 is exceeded with a probability of 0.001.
        assert ((counts - expected) ** 2 / expected).sum() < 16.3, counts


def test_many_classes_share_the_positions() -> None:
    labels = np.random.default_rng(0).integers(0, 255, (500, 500, 1), np.uint8)
    found = drawn(labels, 100)
    assert Counter(map(len, found.values())) == {MOST_POSITIONS // 255: 255}


@pytest.mark.parametrize("strange", [70_000, -1, 0.5])
def test_what_is_no_class_has_no_positions(strange: float) -> None:
    labels = np.array([[strange, 1], [1, strange]])[:, :, None]
    assert list(drawn(labels, 1)) == [1]


def test_an_image_with_too_many_values_has_none() -> None:
    assert drawn(np.arange(1000, dtype=np.uint16)[:, None, None], 10) == {}


def test_no_labels() -> None:
    assert ClassPositions().found() == {}
    assert drawn(np.full((5, 5, 1), 7, np.uint8), 2, nodata=7) == {}
