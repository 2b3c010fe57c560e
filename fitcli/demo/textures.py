"""Draws textures that can be told apart in a few pixels and that look alike after a turn or a flip.

Every texture has a mean of about 0 and a root mean square of about 1, at any angle, so neither brightness nor contrast
tells one from another.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TEXTURES = ("checks", "stripes", "grain", "dots", "mesh")
"""The textures, in the order of their numbers."""

PERIOD = 8.0
"""Distance of the stripes, dots and lines of the regular textures, in pixels."""

DOT_RADIUS = 2.5
LINE_WIDTH = 2.5

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
    if name == "stripes":
        return square_wave(u, PERIOD)
    if name == "checks":
        return square_wave(u, PERIOD) * square_wave(v, PERIOD)
    y, x = _from_middle(u), _from_middle(v)
    if name == "dots":
        return _standardized(DOT_RADIUS - np.hypot(y, x), np.pi * DOT_RADIUS**2 / PERIOD**2)
    # A line lies half way between the middles of two squares.
    return _standardized(
        LINE_WIDTH / 2 - PERIOD / 2 + np.maximum(np.abs(y), np.abs(x)), 1 - (1 - LINE_WIDTH / PERIOD) ** 2
    )


def square_wave(positions: Floats, period: float) -> Floats:
    """Compute a square wave with edges one pixel wide, so that fine patterns are not jagged."""
    wave: Floats = np.clip(np.sin(positions * (2 * np.pi / period)) * (period / np.pi), -1, 1).astype(np.float32)
    return wave


def _from_middle(positions: Floats) -> Floats:
    """Return the signed distance to the nearest multiple of the period."""
    return positions - np.float32(PERIOD) * np.round(positions / np.float32(PERIOD))


def _standardized(inside: Floats, share: float) -> Floats:
    """Return a light figure on a dark ground with mean 0 and standard deviation 1, its edges one pixel wide.

    Args:
        inside: Distance from the edge of the figure, positive inside.
        share: Share of the area that the figure covers.
    """
    light = np.clip(inside + np.float32(0.5), 0, 1)
    return (light - np.float32(share)) / np.float32(np.sqrt(share * (1 - share)))
