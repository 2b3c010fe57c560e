"""Writes files of features as TRIDENT and CLAM do, from synthetic slides."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIDE = 512
"""Side of a patch in level-0 pixels: 256 pixels at 20x of a slide of 40x."""

TRIDENT: dict[str, Any] = {
    "patch_size": 256,
    "patch_size_level0": SIDE,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
    "name": "slide",
    "savetodir": "somewhere",
}
"""Attributes of the coordinates of TRIDENT."""


def write_h5(
    path: Path,
    features: NDArray[Any],
    coordinates: NDArray[Any],
    attributes: Mapping[str, Any] | None = TRIDENT,
    **options: Any,
) -> Path:
    """Write features [n d] or [1 n d] and coordinates [n 2]; `attributes` None are those of CLAM: none."""
    h5py = pytest.importorskip("h5py")
    chunks = (*([1] * (features.ndim - 1)), features.shape[-1])
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=features, **{"chunks": chunks, **options})
        file.create_dataset("coords", data=coordinates).attrs.update(attributes or {})
    return path


def places(rows: int, columns: int, top: int = 2, left: int = 3, side: int = SIDE) -> NDArray[np.int64]:
    """Return the coordinates [n 2] of a full grid, row by row."""
    row, column = np.mgrid[0:rows, 0:columns]
    return np.stack([(column + left).ravel() * side, (row + top).ravel() * side], axis=1)


def grid_of(features: NDArray[Any], coordinates: NDArray[Any], side: int = SIDE) -> NDArray[Any]:
    """Return features [n d] on the grid of their coordinates, [rows columns d]; NaN where there are none."""
    at = (coordinates - coordinates.min(axis=0)) // side
    width, height = at.max(axis=0) + 1
    grid = np.full((height, width, features.shape[-1]), np.nan, features.dtype)
    grid[at[:, 1], at[:, 0]] = features
    return grid


def some_places(rows: int = 20, columns: int = 15, share: float = 0.6, seed: int = 0) -> NDArray[np.int64]:
    """Return a random part of a grid, in random order."""
    every = places(rows, columns)
    return np.random.default_rng(seed).permutation(every)[: int(share * len(every))]


def random_features(count: int, values: int = 8, seed: int = 0, dtype: str = "f4") -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=(count, values)).astype(dtype)
