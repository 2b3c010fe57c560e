"""Draws pictures of three kinds at any size: marks on landscapes, digits among strokes, fields of spotted cells.

The larger a landscape or a canvas, the rarer are the few objects that tell its class. All of a field tells its class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning.megapixel_canvases import canvases
from fitcli.demo.scenes import CLASSES, Scene
from fitcli.images.window import Window

Floats = NDArray[np.floating[Any]]


class Picture(NamedTuple):
    """A picture and its class.

    Attributes:
        label: Name of the class.
        pixels: [height width channels].
    """

    label: str
    pixels: NDArray[Any]


Draw = Callable[[int, int, int], Iterator[Picture]]
"""From the side in pixels, the number of pictures and a seed to the pictures."""

STRIP = 1024
"""Rows of a landscape that are rendered at once."""


def landscapes(side: int, count: int, seed: int) -> Iterator[Picture]:
    """Draw landscapes of `fit demo`: at least three marks, and as there fewer per area on larger ones."""
    rng = np.random.default_rng([seed, side])
    for number in range(count):
        label = CLASSES[number % len(CLASSES)]
        marks = max(3, round(5 * (side / 512) ** 0.5 * rng.uniform(0.75, 1.25)))
        scene = Scene(int(rng.integers(2**31)), side, side, label, marks)
        pixels = np.empty((side, side, 3), np.uint8)
        for top in range(0, side, STRIP):
            window = Window(top, 0, min(STRIP, side - top), side)
            pixels[window.slices()] = scene.render(window)
        yield Picture(label, pixels)


DIGITS = 3
"""Classes of canvases: the digits 0, 1 and 2. With three, a few minutes of training are enough."""

STROKES = 12 / 448
"""Strokes on a canvas per pixel of its side, as in `megapixel_mnist.py`."""


def digit_canvases(digits: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Draw:
    """Return what draws canvases of Megapixel MNIST with the digits [i 28 28]; the class is the commonest digit."""
    kept = np.flatnonzero(labels < DIGITS)
    # The generator of the canvases knows ten labels: here a digit has three of them, and 0 also has the label 9.
    spread = (labels[kept] + DIGITS * (np.arange(len(kept)) % 3)).astype(np.uint8)
    spread[np.flatnonzero(labels[kept] == 0)[::7]] = 9

    def draw(side: int, count: int, seed: int) -> Iterator[Picture]:
        strokes = round(STROKES * side)
        for canvas in canvases(digits[kept], spread, count, (side, side), strokes, 50, seed):
            yield Picture(str(np.bincount(canvas.labels % DIGITS).argmax()), canvas.pixels[..., None])

    return draw


SPOTS = {"large": 2.2, "small": 1.4}
"""Standard deviation of the spots of each class, in pixels; their sum is the same."""

SPOTS_PER_CELL, LIGHT = 7, 2500.0
"""Spots of a cell, and sum of the counts of a spot."""

CELL_PITCH = 34
"""Typical distance of cells, in pixels."""


def fields(side: int, count: int, seed: int) -> Iterator[Picture]:
    """Draw fields of cells in three channels of 16 bits: nuclei, bodies, and spots in every cell."""
    rng = np.random.default_rng([seed, side])
    for number in range(count):
        label = list(SPOTS)[number % len(SPOTS)]
        height, width = (round(side * rng.uniform(0.95, 1.05)) for _ in range(2))
        counts = np.zeros((height, width, 3), np.float32)
        cells = rng.uniform(0, 1, (round(height * width / CELL_PITCH**2), 2)) * (height, width)
        brightness = rng.uniform(0.8, 1.25)
        strengths = rng.uniform(0.6, 1.4, (2, len(cells))) * brightness
        for channel, (sigma, peak) in enumerate(((4.0, 300.0), (8.0, 150.0))):
            _add_spots(counts[..., channel], cells, np.full(len(cells), sigma), peak * strengths[channel])
        centres = np.repeat(cells, SPOTS_PER_CELL, axis=0) + rng.normal(0, 5, (SPOTS_PER_CELL * len(cells), 2))
        sigmas = SPOTS[label] * rng.uniform(0.9, 1.1, len(centres))
        light = LIGHT * rng.uniform(0.7, 1.3, len(centres)) * brightness
        _add_spots(counts[..., 2], centres, sigmas, light / (2 * np.pi * sigmas**2))
        counts += 100 + rng.standard_normal(counts.shape, dtype=np.float32) * np.sqrt(36 + counts)
        hot = rng.integers(0, counts.size, rng.poisson(counts.size * 1e-5))
        counts.flat[hot] = rng.uniform(3000, 40000, len(hot))
        yield Picture(label, np.clip(np.rint(counts), 0, 65535).astype(np.uint16))


def _add_spots(plane: NDArray[np.float32], centres: Floats, sigmas: Floats, peaks: Floats) -> None:
    """Add Gaussian spots to a plane, each as far as three of the largest standard deviations."""
    reach = int(3 * sigmas.max()) + 1
    offsets = np.arange(2 * reach) - reach + 0.5
    padded = np.zeros([side + 2 * reach for side in plane.shape], np.float32)
    corners = np.clip(np.rint(centres).astype(int), 0, plane.shape)
    for (top, left), sigma, peak in zip(corners, sigmas, peaks, strict=True):
        line = np.exp(-(offsets**2) / (2 * sigma**2))
        padded[top : top + 2 * reach, left : left + 2 * reach] += (peak * line)[:, None] * line
    plane += padded[reach:-reach, reach:-reach]
