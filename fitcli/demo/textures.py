"""Draws textures that can be told apart in a few pixels and that look alike after a turn or a flip.

Every texture has a mean of about 0 and a root mean square of about 1, at any angle, so neither brightness nor contrast
tells one from another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEXTURES = ("checks", "stripes", "grain", "dots", "mesh")
"""The textures, in the order of their numbers."""

PERIODS = {"checks": 8.0, "stripes": 8.0, "dots": 11.0, "mesh": 7.0}
"""Distance of the figures of the regular textures, in pixels. No two textures have the same strong frequencies."""

DOT_RADIUS = 3.5
LINE_WIDTH = 2.2

Floats = NDArray[np.float32]


def texture(name: str, u: Floats, v: Floats, noise: Floats) -> Floats:
    """Draw a texture.

    Args:
        name: One of `TEXTURES`.
        u, v: Coordinates of the pixels along the two axes of the texture, in pixels.
        noise: White noise of the pixels, with a standard deviation of 1.
    """
    if name == "grain":
        return noise
    period = PERIODS[name]
    if name == "stripes":
        return square_wave(u, period)
    if name == "checks":
        return square_wave(u, period) * square_wave(v, period)
    y, x = (np.abs(positions - np.float32(period) * np.round(positions / np.float32(period))) for positions in (u, v))
    if name == "dots":
        return _standardized(DOT_RADIUS - np.hypot(y, x), np.pi * DOT_RADIUS**2 / period**2)
    # `y` and `x` are distances from the middle of a square, and the lines run half way between the middles.
    return _standardized(np.maximum(y, x) - (period - LINE_WIDTH) / 2, 1 - (1 - LINE_WIDTH / period) ** 2)


def square_wave(positions: Floats, period: float) -> Floats:
    """Compute a square wave with edges one pixel wide, so that fine patterns are not jagged."""
    wave: Floats = np.clip(np.sin(positions * (2 * np.pi / period)) * (period / np.pi), -1, 1).astype(np.float32)
    return wave


def _standardized(inside: NDArray[np.floating], share: float) -> Floats:
    """Return a light figure on a dark ground with mean 0 and standard deviation 1, its edges one pixel wide.

    Args:
        inside: Distance from the edge of the figure, positive inside.
        share: Share of the area that the figure covers.
    """
    light = np.clip(inside + 0.5, 0, 1)
    pattern: Floats = ((light - share) / np.sqrt(share * (1 - share))).astype(np.float32)
    return pattern
