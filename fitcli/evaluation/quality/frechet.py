"""The Fréchet distance between two sets of vectors, as if each were normally distributed (Heusel et al. 2017)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def frechet_distance(first: Matrix, second: Matrix) -> float:
    """Return the distance between two sets of vectors [n d], two or more each.

    It is the squared distance of the means plus tr(A + B - 2 sqrt(A B)) of the covariances A and B.
    """
    a, b = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (first, second))
    return gaussian_distance(first.mean(axis=0), a, second.mean(axis=0), b)


def gaussian_distance(first_mean: Matrix, first: Matrix, second_mean: Matrix, second: Matrix) -> float:
    """Return the distance between two normal distributions, by their means [d] and covariances [d d]."""
    root = _root(first)
    # A B has the eigenvalues of sqrt(A) B sqrt(A), which is symmetric. Rounding may make them negative.
    product = np.linalg.eigvalsh(root @ second @ root).clip(min=0)
    between = float(np.square(first_mean - second_mean).sum())
    return max(0.0, between + float(np.trace(first) + np.trace(second) - 2 * np.sqrt(product).sum()))


def _root(matrix: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(matrix)
    root: Matrix = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root
