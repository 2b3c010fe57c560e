"""Textures have the same mean and contrast, and differ within a few pixels."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.demo.textures import TEXTURES, square_wave, texture

WEIGHTS = np.outer(np.hanning(18)[1:-1], np.hanning(18)[1:-1])
RINGS = np.hypot(np.fft.fftfreq(16)[:, None] * 16, np.fft.rfftfreq(16) * 16).round().astype(int).ravel()
"""Distance of the frequencies of 16 x 16 pixels from zero."""


def draw(name: str, angle: float, rng: np.random.Generator, side: int = 256) -> np.ndarray:
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:side, :side])
    u, v = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    noise = rng.standard_normal((side, side), dtype=np.float32)
    return texture(name, u.astype(np.float32), v.astype(np.float32), noise)


@pytest.mark.parametrize("name", TEXTURES)
def test_neither_brightness_nor_contrast_tells_a_texture(name: str) -> None:
    rng = np.random.default_rng(0)
    for angle in rng.uniform(0, np.pi, 5):
        pattern = draw(name, angle, rng)
        assert pattern.dtype == np.float32
        assert pattern.mean() == pytest.approx(0, abs=0.06)
        # Edges of one pixel soften the figures: checks, which have most edges, lose a third of their contrast.
        assert 0.6 < pattern.std() < 1.05


def test_textures_can_be_told_apart_in_sixteen_pixels() -> None:
    """The nearest mean of simple statistics of noisy patches, at any angle and contrast. Chance is 0.2."""
    rng = np.random.default_rng(1)

    def features(number: int) -> np.ndarray:
        pattern = draw(TEXTURES[number], rng.uniform(0, np.pi), rng, 16) * rng.uniform(28, 50)
        pattern += rng.normal(0, 8, (16, 16))
        pattern = (pattern - pattern.mean()) / pattern.std()
        power = np.abs(np.fft.rfft2(pattern * WEIGHTS)) ** 2
        rings = np.log(np.bincount(RINGS, power.ravel())[1:9])
        return np.concatenate([rings, [np.log(power.max()), (pattern**3).mean(), (pattern**4).mean()]])

    numbers = np.arange(1000) % len(TEXTURES)
    found = np.stack([features(number) for number in numbers])
    found = np.linalg.solve(np.linalg.cholesky(np.cov(found.T) + 1e-3 * np.eye(len(found.T))), found.T).T
    half = len(numbers) // 2
    means = np.stack([found[:half][numbers[:half] == number].mean(0) for number in range(len(TEXTURES))])
    guessed = ((found[half:, None] - means) ** 2).sum(-1).argmin(1)
    assert (guessed == numbers[half:]).mean() > 0.98


def test_a_square_wave_has_edges_one_pixel_wide() -> None:
    wave = square_wave(np.arange(40, dtype=np.float32), 10.0)
    assert set(np.round(wave, 3)) <= {-1.0, 0.0, 1.0}
    assert wave.mean() == pytest.approx(0, abs=1e-6)
