"""Sliced Wasserstein distances between sets of crops, level by level (Karras et al., arXiv:1710.10196, section 5).

A descriptor is a neighbourhood of 7 x 7 pixels of a level of a Laplacian pyramid. Two sets of descriptors are as far
apart as their projections on a random direction are on average: the mean difference of the sorted projections.

Descriptors are normalised by mean and standard deviation of each channel over real crops. The paper normalises each set
by its own, which hides that generated images are darker or have less contrast.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fitcli.evaluation.quality.laplacian_pyramid import Values

SIDE = 7
"""Side of a descriptor, in pixels."""

MOST_PER_CROP = 128
"""Most descriptors of a level of a crop."""

SET_BYTES = 64 << 20
"""Memory for the descriptors of a set, over all levels."""

DIRECTIONS, AT_ONCE = 512, 64
"""Number of random directions, and of those that are computed together."""

Descriptors = NDArray[np.float32]
"""Descriptors [n 7 7 channels] of one level."""


class Compared(NamedTuple):
    """A distance of generated crops to real ones, beside that of real ones to each other.

    Attributes:
        generated: Distance of the generated set to the real ones, the mean over both of them.
        real: Distance of two disjoint real sets.
        bicubic: Distance of smaller real images, enlarged by cubic convolution, to the real ones; None for a run that
            does not enlarge.
    """

    generated: float
    real: float
    bicubic: float | None = None


def descriptors_per_crop(crops: int, levels: int, channels: int) -> int:
    """Return how many descriptors to take of each level of each of `crops` crops."""
    each = crops * levels * channels * SIDE**2 * 4
    return max(1, min(MOST_PER_CROP, SET_BYTES // each))


def draw_descriptors(level: Values, count: int, generator: np.random.Generator) -> Descriptors:
    """Return `count` descriptors at random places of a level; its sides are `SIDE` or more."""
    windows = sliding_window_view(level, (SIDE, SIDE), axis=(0, 1))
    rows, columns = (generator.integers(0, windows.shape[axis], count) for axis in (0, 1))
    return np.ascontiguousarray(np.moveaxis(windows[rows, columns], 1, -1))


def sliced_distances(
    generated: Descriptors, real: tuple[Descriptors, Descriptors], generator: np.random.Generator
) -> Compared:
    """Return the distances between a generated and two real sets of equally many descriptors of one level."""
    both = np.concatenate(real)
    mean = both.mean(axis=(0, 1, 2), dtype=np.float64).astype(np.float32)
    spread = both.std(axis=(0, 1, 2), dtype=np.float64).astype(np.float32)
    spread[spread == 0] = 1  # A channel that is the same everywhere.
    flat = [((each - mean) / spread).reshape(len(each), -1) for each in (generated, *real)]
    directions = random_directions(flat[0].shape[1], generator)
    return Compared(
        (distance(flat[0], flat[1], directions) + distance(flat[0], flat[2], directions)) / 2,
        distance(flat[1], flat[2], directions),
    )


def random_directions(width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Return `DIRECTIONS` vectors of length 1, [width directions]."""
    directions = generator.standard_normal((width, DIRECTIONS))
    unit: NDArray[np.float32] = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
    return unit


def distance(first: NDArray[np.float32], second: NDArray[np.float32], directions: NDArray[np.float32]) -> float:
    """Return the mean over directions [width k] of the distances of projections of two sets [n width]."""
    total = 0.0
    for start in range(0, directions.shape[1], AT_ONCE):
        part = directions[:, start : start + AT_ONCE]
        sorted_first, sorted_second = (np.sort(each @ part, axis=0) for each in (first, second))
        total += float(np.abs(sorted_first - sorted_second).mean(axis=0, dtype=np.float64).sum())
    return total / len(directions.T)
