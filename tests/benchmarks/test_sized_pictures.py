"""The pictures of the benchmark of sizes: nothing but what tells the class tells it, at every size."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learning.megapixel_canvases import SIDE
from benchmarks.learning.sized_pictures import DIGITS, SPOTS, Draw, digit_canvases, fields, landscapes


def canvases_of_levels(side: int, count: int, seed: int) -> list[tuple[str, np.ndarray]]:
    """Canvases whose digits are squares of their label's level."""
    labels = np.random.default_rng(0).permutation(np.arange(600) % 10).astype(np.uint8)
    digits = np.broadcast_to((10 + labels)[:, None, None], (600, SIDE, SIDE)).astype(np.uint8)
    return [tuple(picture) for picture in digit_canvases(digits, labels)(side, count, seed)]


@pytest.mark.parametrize("side", [160, 640])
def test_the_class_of_a_canvas_is_its_commonest_digit(side: int) -> None:
    found = canvases_of_levels(side, 12, 0)
    for label, pixels in found:
        assert pixels.shape == (side, side, 1)
        areas = [(pixels == 10 + digit).sum() / SIDE**2 for digit in range(10)]
        assert sum(areas) == 5
        assert max(areas[DIGITS:], default=0) == 0
        assert areas[int(label)] == max(areas) >= 3
    assert len({label for label, _ in found}) == DIGITS


def test_spots_of_both_classes_have_the_same_sum() -> None:
    means = {label: [] for label in SPOTS}
    for label, pixels in fields(600, 8, 0):
        assert pixels.dtype == np.uint16
        means[label].append(float(np.clip(pixels[..., 2], 0, 3000).mean() - 100))
    small, large = (np.mean(means[label]) for label in ("small", "large"))
    # Brightness varies by a fifth, and cells at random.
    assert abs(small / large - 1) < 0.2


@pytest.mark.parametrize("draw", [landscapes, fields])
def test_the_same_seed_draws_the_same_pictures(draw: Draw) -> None:
    one, same, other = (list(draw(200, 3, seed)) for seed in (1, 1, 2))
    assert [p.label for p in one] == [p.label for p in same]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].pixels[:100, :100], other[0].pixels[:100, :100])
