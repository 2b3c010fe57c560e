"""Simple models of grey images to compare with, in bits per dimension.

Each is fitted to some images and scored on others. Its settings are the best in hindsight, by that score.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
"""Grey images [i height width]."""

SMOOTHING = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Counts to try that are added to every level."""


def histogram_bits(fitted: Images, scored: Images) -> float:
    """Score a histogram of the levels at each pixel."""
    places = np.arange(fitted[0].size)
    return _count_bits(fitted.reshape(len(fitted), -1), scored.reshape(len(scored), -1), places, places, len(places))


def neighbour_bits(fitted: Images, scored: Images) -> float:
    """Score a histogram of the levels for each pair of the pixel above and the one on the left, in eight steps each."""
    return _count_bits(fitted, scored, _contexts(fitted), _contexts(scored), 64)


def _contexts(images: Images) -> NDArray[np.int64]:
    """Return the steps 0 ... 7 of the pixel above and the pixel on the left as one number; pixels outside are black."""
    steps = np.pad(images, ((0, 0), (1, 0), (1, 0))).astype(np.int64) >> 5
    return steps[:, :-1, 1:] * 8 + steps[:, 1:, :-1]


def _count_bits(
    fitted: Images,
    scored: Images,
    fitted_contexts: NDArray[np.int64],
    scored_contexts: NDArray[np.int64],
    contexts: int,
) -> float:
    """Return the bits per dimension of levels counted in each context, with the best smoothing in hindsight."""
    index = np.broadcast_to(fitted_contexts, fitted.shape).ravel() * 256 + fitted.ravel()
    counts = np.bincount(index, minlength=contexts * 256).reshape(contexts, 256)
    targets = np.broadcast_to(scored_contexts, scored.shape).ravel() * 256 + scored.ravel()
    bits = []
    for smoothing in SMOOTHING:
        probabilities = (counts + smoothing) / (counts.sum(1, keepdims=True) + 256 * smoothing)
        bits.append(float(-np.log2(probabilities.ravel()[targets]).mean()))
    return min(bits)


COMPONENTS, MIN_DEVIATIONS, UNIFORM_WEIGHTS = (3, 8), (0.05, 0.3), (1e-4, 1e-3, 1e-2)
"""Settings of the mixture to try: Gaussians, their least standard deviation in levels, the weight of a uniform part."""


def mixture_bits(fitted: Images, scored: Images) -> float:
    """Score a mixture of Gaussians and a uniform distribution at each pixel.

    The Gaussians are made discrete as in PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517, section 2.1).
    """
    fitted, scored = fitted.reshape(len(fitted), -1), scored.reshape(len(scored), -1)
    scores = []
    for components in COMPONENTS:
        for least in MIN_DEVIATIONS:
            bits = [_pixel_bits(fitted[:, p], scored[:, p], components, least) for p in range(fitted.shape[1])]
            scores.append(np.mean(bits, axis=0).min())
    return float(min(scores))


def _pixel_bits(
    fitted: NDArray[np.uint8], scored: NDArray[np.uint8], components: int, least: float, rounds: int = 40
) -> list[float]:
    """Fit the mixture of one pixel by expectation maximisation; return its bits for each weight of the uniform part."""
    counts = np.bincount(fitted, minlength=256).astype(np.float64)
    levels = np.arange(256.0)
    means = np.quantile(fitted, (np.arange(components) + 0.5) / components) + np.linspace(-1, 1, components)
    deviations, weights = np.full(components, max(fitted.std(), least)), np.full(components, 1 / components)
    for _ in range(rounds):
        joint = weights * _discrete(levels, means, deviations) + 1e-300  # [256 components]
        shares = joint / joint.sum(1, keepdims=True) * counts[:, None]
        mass = shares.sum(0) + 1e-9
        means = (shares * levels[:, None]).sum(0) / mass
        deviations = np.sqrt((shares * (levels[:, None] - means) ** 2).sum(0) / mass + least**2)
        weights = mass / mass.sum()
    probabilities = (weights * _discrete(levels, means, deviations)).sum(1)[scored]
    return [float(-np.log2((1 - uniform) * probabilities + uniform / 256).mean()) for uniform in UNIFORM_WEIGHTS]


def _discrete(
    levels: NDArray[np.float64], means: NDArray[np.float64], deviations: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mass of each Gaussian around each level [256 components]; the end levels get the tails."""
    borders = (levels[:-1, None] + 0.5 - means) / (deviations * math.sqrt(2))
    below = 0.5 * (1 + np.vectorize(math.erf)(borders))
    ones = np.ones((1, len(means)))
    return np.diff(np.concatenate([0 * ones, below, ones]), axis=0)
