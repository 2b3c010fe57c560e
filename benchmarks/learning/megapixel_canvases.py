"""Makes the canvases of Megapixel MNIST: five digits and many strokes of noise on a large dark ground.

The recipe is that of Iterative Patch Selection (Bergner et al. 2023, arXiv:2210.13007), after Attention Sampling
(Katharopoulos & Fleuret 2019, arXiv:1905.03711), and random numbers are drawn in the same order: three digits of one
label and two of other labels; five places without overlap; noise patterns of two crossing lines, stamped before the
digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 28
"""Pixels of a digit and of a noise pattern."""

DIGITS = 5
"""Digits on each canvas: three of one label, two of other labels."""

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Canvas:
    """One canvas and its answers.

    Attributes:
        pixels: Ink [height width].
        labels: Labels [5] of its digits.
        places: (top, left) of each digit [5 2].
        strokes: (top, left) of each noise stamp [noise 2].
    """

    pixels: Bytes
    labels: Numbers
    places: Numbers
    strokes: Numbers

    @property
    def majority(self) -> int:
        """The label that occurs three times."""
        return int(np.bincount(self.labels).argmax())

    @property
    def largest(self) -> int:
        """The greatest label."""
        return int(self.labels.max())

    @property
    def top(self) -> int:
        """The label of the digit that lies highest."""
        return int(self.labels[self.places[:, 0].argmin()])

    @property
    def present(self) -> list[int]:
        """All labels on the canvas, in order."""
        return sorted(set(self.labels.tolist()))


def canvases(
    digits: Bytes, labels: NDArray[np.uint8], count: int, size: tuple[int, int], noise: int, patterns: int, seed: int
) -> Iterator[Canvas]:
    """Make canvases.

    Args:
        digits: Digits [i 28 28] to choose from.
        labels: Labels [i] of the digits.
        count: Number of canvases.
        size: (height, width) of each canvas.
        noise: Noise stamps on each canvas.
        patterns: Number of patterns that the stamps of all canvases are chosen from.
        seed: Seed of all random numbers; the recipe has 1 for training and 0 for testing.

    Raises:
        ValueError: The canvas is too small for five digits without overlap.
    """
    if min(size) < 4 * SIDE:
        raise ValueError(f"canvas of {size} pixels: five digits need at least {4 * SIDE} per side")
    rng = np.random.RandomState(seed)
    chosen = np.stack([_numbers(rng, labels) for _ in range(count)])
    places = np.stack([_places(rng, size) for _ in range(count)])
    stamps = _patterns(rng, patterns)
    room = np.array(size) - 2 * SIDE
    strokes = (rng.rand(count, noise, 2) * room + SIDE).astype(int)
    kinds = (rng.rand(count, noise) * patterns).astype(int)
    for number in range(count):
        pixels = np.zeros(size, np.uint8)
        for (top, left), kind in zip(strokes[number], kinds[number], strict=True):
            pixels[top : top + SIDE, left : left + SIDE] = stamps[kind]
        for (top, left), digit in zip(places[number], chosen[number], strict=True):
            pixels[top : top + SIDE, left : left + SIDE] = digits[digit]
        yield Canvas(pixels, labels[chosen[number]].astype(np.int64), places[number], strokes[number])


def _numbers(rng: np.random.RandomState, labels: NDArray[np.uint8]) -> Numbers:
    """Return the numbers of five digits."""
    target = int(rng.rand() * 10)
    same, others = np.flatnonzero(labels == target), np.flatnonzero(labels != target)
    return np.concatenate([rng.choice(same, 3), rng.choice(others, 2)])


def _places(rng: np.random.RandomState, size: tuple[int, int]) -> Numbers:
    """Return (top, left) of five digits that do not overlap."""
    room = np.array(size) - SIDE
    taken: list[Numbers] = []
    while len(taken) < DIGITS:
        place = np.round(rng.rand(2) * room).astype(np.int64)
        if all((np.abs(place - other) >= SIDE).any() for other in taken):
            taken.append(place)
    return np.stack(taken)


def _patterns(rng: np.random.RandomState, count: int) -> Bytes:
    """Return noise patterns [count 28 28]: a line through a corner and another line, mirrored at random."""
    slopes = np.tan(rng.rand(count) * np.pi / 2.5)
    lines = np.zeros((count, SIDE, SIDE))
    for line, slope in zip(lines, slopes, strict=True):
        x = np.linspace(0, min(27.49, 27.49 / slope), 2 * SIDE)
        line[np.round(x).astype(int), np.round(slope * x).astype(int)] = 1
    others = lines.copy()
    rng.shuffle(others)
    across, down = rng.rand(count) < 0.33, rng.rand(count) < 0.33
    others[across] = np.flip(others[across], 2)
    others[down] = np.flip(others[down], 1)
    ink = ((lines + others) > 0) * (rng.rand(count, SIDE, SIDE) * 0.2 + 0.8)
    return np.rint(ink * 255).astype(np.uint8)
