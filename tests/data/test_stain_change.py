"""Images that are made of known amounts of stains become those of the changed amounts."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.data.stain_change import LEAST_LIGHT, STAINED, restained, stain_colors

RNG = np.random.default_rng(0)
NONE = np.zeros(2)


def picture(amounts: np.ndarray, white: float = 255.0) -> np.ndarray:
    """Return light [3 h w] behind amounts of the stains [3 h w], by the law of Beer and Lambert."""
    density = sum(amount[None] * color[:, None, None] for amount, color in zip(amounts, stain_colors(), strict=True))
    return np.asarray(white * np.exp(-density))


AMOUNTS = np.stack([RNG.uniform(0.3, 1.2, (20, 30)), RNG.uniform(0.3, 0.9, (20, 30)), RNG.uniform(0, 0.1, (20, 30))])


@pytest.mark.parametrize("white", [255.0, 4095.0, 1.0])
def test_amounts_are_multiplied(white: float) -> None:
    gains = np.array([1.2, 0.85])
    expected = picture(AMOUNTS * np.array([1.2, 0.85, 1.0])[:, None, None], white)
    np.testing.assert_allclose(restained(picture(AMOUNTS, white), gains, NONE, (0.0, white)), expected)


def test_amounts_are_added_where_there_is_stain() -> None:
    assert (picture(AMOUNTS) < 255 * np.exp(-STAINED)).mean() > 0.5
    expected = picture(AMOUNTS + np.array([0.1, -0.05, 0])[:, None, None])
    changed = restained(picture(AMOUNTS), np.ones(2), np.array([0.1, -0.05]), (0.0, 255.0))
    np.testing.assert_allclose(changed, expected)


def test_white_and_black_stay() -> None:
    ends = np.stack([np.full((1, 2), value) for value in ([[0.0, 255.0]],) * 3]).reshape(3, 1, 2)
    changed = restained(ends, np.array([1.3, 0.6]), np.array([0.2, 0.2]), (0.0, 255.0))
    np.testing.assert_allclose(changed, ends)


def test_black_need_not_be_zero() -> None:
    lifted = picture(AMOUNTS) + 100
    gains, shifts = np.array([0.8, 1.1]), np.array([0.02, 0.05])
    expected = restained(picture(AMOUNTS), gains, shifts, (0.0, 255.0)) + 100
    np.testing.assert_allclose(restained(lifted, gains, shifts, (100.0, 355.0)), expected)


def test_no_change() -> None:
    noise = RNG.integers(0, 256, (3, 30, 30)).astype(np.float32)
    np.testing.assert_array_equal(restained(noise, np.ones(2), NONE, (0.0, 255.0)), noise)
    assert LEAST_LIGHT * 255 == 1


def test_the_colours_are_those_of_the_publication() -> None:
    """Ruifrok and Johnston, table of haematoxylin and eosin; the third is at right angles to both."""
    colors = stain_colors()
    np.testing.assert_allclose(colors[:2], [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]], atol=0.005)
    np.testing.assert_allclose(colors[2] @ colors[:2].T, 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(colors, axis=1), 1)
