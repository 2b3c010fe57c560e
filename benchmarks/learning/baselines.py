"""Models of grey images that know little, to compare with: bits per dimension.

Each is fitted to some images and scored on others, its settings chosen in hindsight by that score.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""[i height width]."""

SMOOTHING = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Counts that are added to all levels."""


def histogram_bits(fitted: Images, scored: Images) -> float:
    """A histogram of the levels at each pixel."""
    places = np.arange(fitted[0].size)
    return _count_bits(fitted.reshape(len(fitted), -1), scored.reshape(len(scored), -1), places, places, len(places))


def neighbour_bits(fitted: Images, scored: Images) -> float:
    """A histogram of the levels that follow each pair of a pixel above and one on the left, each in eight steps."""
    return _count_bits(fitted, scored, _contexts(fitted), _contexts(scored), 64)


def _contexts(images: Images) -> NDArray[np.int64]:
    """The steps, 0 ... 7, of the pixel above and of that on the left, as one number; black beyond the edges."""
    steps = np.pad(images, ((0, 0), (1, 0), (1, 0))).astype(np.int64) >> 5
    return steps[:, :-1, 1:] * 8 + steps[:, 1:, :-1]


def _count_bits(
    fitted: Images, scored: Images, before: NDArray[np.int64], asked: NDArray[np.int64], contexts: int
) -> float:
    """Bits per dimension of levels counted in each context, with the smoothing that is best in hindsight."""
    index = np.broadcast_to(before, fitted.shape).ravel() * 256 + fitted.ravel()
    counts = np.bincount(index, minlength=contexts * 256).reshape(contexts, 256)
    wanted = np.broadcast_to(asked, scored.shape).ravel() * 256 + scored.ravel()
    found = []
    for smoothing in SMOOTHING:
        chances = (counts + smoothing) / (counts.sum(1, keepdims=True) + 256 * smoothing)
        found.append(float(-np.log2(chances.ravel()[wanted]).mean()))
    return min(found)


COMPONENTS, NARROWEST, IGNORANCE = (3, 8), (0.05, 0.3), (1e-4, 1e-3, 1e-2)
"""Of the mixture: Gaussians, their least standard deviation in levels, the share that all levels have alike."""


def mixture_bits(fitted: Images, scored: Images) -> float:
    """A mixture of Gaussians at each pixel, made discrete as in PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517,
    section 2.1), with a share of ignorance.
    """
    known, asked = fitted.reshape(len(fitted), -1), scored.reshape(len(scored), -1)
    found = []
    for components in COMPONENTS:
        for narrowest in NARROWEST:
            bits = [_pixel_bits(known[:, p], asked[:, p], components, narrowest) for p in range(known.shape[1])]
            found.append(np.mean(bits, axis=0).min())
    return float(min(found))


def _pixel_bits(
    known: NDArray[np.uint8], asked: NDArray[np.uint8], components: int, narrowest: float, rounds: int = 40
) -> list[float]:
    """By expectation and maximisation; for each share of ignorance."""
    counts = np.bincount(known, minlength=256).astype(np.float64)
    levels = np.arange(256.0)
    means = np.quantile(known, (np.arange(components) + 0.5) / components) + np.linspace(-1, 1, components)
    deviations, weights = np.full(components, max(known.std(), narrowest)), np.full(components, 1 / components)
    for _ in range(rounds):
        joint = weights * _discrete(levels, means, deviations) + 1e-300  # [256 components]
        shares = joint / joint.sum(1, keepdims=True) * counts[:, None]
        mass = shares.sum(0) + 1e-9
        means = (shares * levels[:, None]).sum(0) / mass
        deviations = np.sqrt((shares * (levels[:, None] - means) ** 2).sum(0) / mass + narrowest**2)
        weights = mass / mass.sum()
    chances = (weights * _discrete(levels, means, deviations)).sum(1)[asked]
    return [float(-np.log2((1 - share) * chances + share / 256).mean()) for share in IGNORANCE]


def _discrete(
    levels: NDArray[np.float64], means: NDArray[np.float64], deviations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Probability of each level [256 components]: what a Gaussian has around it; the ends have all beyond them too."""
    borders = (levels[:-1, None] + 0.5 - means) / (deviations * math.sqrt(2))
    below = 0.5 * (1 + np.vectorize(math.erf)(borders))
    ones = np.ones((1, len(means)))
    return np.diff(np.concatenate([0 * ones, below, ones]), axis=0)
