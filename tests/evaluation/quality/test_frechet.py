"""Fréchet distances against closed forms, and against the eigenvalues of the product itself."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.evaluation.quality.frechet import frechet_distance, gaussian_distance


def vectors(count: int, width: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.standard_normal((count, width)) @ random.standard_normal((width, width)) + random.random(width)


def test_normal_distributions_along_the_axes() -> None:
    first, second = np.array([4.0, 9.0, 0.0]), np.array([1.0, 16.0, 25.0])
    means = np.array([1.0, 0, 2]), np.array([0.0, 2, 2])
    # Along each axis: the squared difference of the means plus that of the standard deviations.
    expected = (1 + 4 + 0) + (1 + 1 + 25)
    found = gaussian_distance(means[0], np.diag(first), means[1], np.diag(second))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("count", [3, 40])
def test_sets_of_vectors(count: int) -> None:
    first, second = vectors(count, 6, 1), vectors(count, 6, 2)
    a, b = np.cov(first.T), np.cov(second.T)
    # The product of the covariances is not symmetric; its eigenvalues are real up to rounding.
    roots = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
    between = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    expected = between + np.trace(a) + np.trace(b) - 2 * roots
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-6 * np.trace(a))


def test_vectors_of_one_number() -> None:
    first, second = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    assert frechet_distance(first, second) == pytest.approx(2**2 + (np.sqrt(8) - np.sqrt(2)) ** 2)
