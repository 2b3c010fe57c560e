"""Hues turn as another definition of hue says, greys stay, and each channel of other images changes for itself."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from fitcli.data.color_change import hue_matrix, mixed, rebalanced

RNG = np.random.default_rng(0)
PIXELS = RNG.uniform(0, 255, (40, 30, 3))


def recolored(turn: float, saturation: float) -> np.ndarray:
    return np.moveaxis(mixed(np.moveaxis(PIXELS, -1, 0), hue_matrix(turn, saturation)), 0, -1)


def hue_and_chroma(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return hue in turns and distance from grey, by the angle in the plane of colours (Preucil's circle)."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    along, across = red - (green + blue) / 2, np.sqrt(3) / 2 * (green - blue)
    return np.arctan2(across, along) / (2 * np.pi), np.hypot(along, across)


@pytest.mark.parametrize("turn", [-0.25, -0.05, 0.0, 0.05, 0.4])
@pytest.mark.parametrize("saturation", [0.5, 1.0, 1.3])
def test_hue_and_saturation(turn: float, saturation: float) -> None:
    changed = recolored(turn, saturation)
    before, after = hue_and_chroma(PIXELS), hue_and_chroma(changed)
    away = (after[0] - before[0] - turn + 0.5) % 1 - 0.5
    np.testing.assert_allclose(away, 0, atol=1e-9)
    np.testing.assert_allclose(after[1], saturation * before[1])
    np.testing.assert_allclose(changed.mean(axis=-1), PIXELS.mean(axis=-1))


@pytest.mark.parametrize("third", [0, 1, 2])
def test_thirds_of_a_turn_agree_with_hsv(third: int) -> None:
    changed = recolored(third / 3, 1.0)
    for before, after in zip(PIXELS[0], changed[0], strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        np.testing.assert_allclose(after, colorsys.hsv_to_rgb((hue + third / 3) % 1, saturation, value))


def test_no_change_and_no_colour() -> None:
    np.testing.assert_allclose(recolored(0, 1), PIXELS)
    np.testing.assert_allclose(recolored(0.3, 0), np.repeat(PIXELS.mean(-1, keepdims=True), 3, -1))


@pytest.mark.parametrize("channels", [2, 4, 13])
def test_channels_are_rebalanced_about_their_means(channels: int) -> None:
    planes = RNG.normal(size=(channels, 9, 7))
    gains, shifts, means = (RNG.uniform(0.5, 2, channels) for _ in range(3))
    changed = rebalanced(planes, gains, shifts, means)
    for number in range(channels):
        expected = (planes[number] - means[number]) * gains[number] + means[number] + shifts[number]
        np.testing.assert_allclose(changed[number], expected)
