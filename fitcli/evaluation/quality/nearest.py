"""Distances of crops to the nearest place in training images: do generated images repeat what the model has seen?

Crops and training images are compared after shrinking, `THUMB` pixels or more per side. A crop is laid at every place
of a training image, on several grids of shrunk pixels, and in every turn if the training turned images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fitcli.evaluation.quality.laplacian_pyramid import Values

THUMB = 16
"""Shorter side to which crops are shrunk, in pixels; up to twice that if a whole factor does not fit."""

PHASES = 2
"""Number of offsets of the grid of shrunk pixels, along each axis."""

MOST_COMPARED = 1 << 28
"""Most pairs of a crop, in one turn, and a place of a training image."""

WINDOW = 4
"""Sides of the windows of large training images that are searched, in sides of a crop."""

QUANTILE = 0.05
"""Share of the real crops that are nearer than the distance by which a generated crop counts as near."""

Distances = NDArray[np.float64]


class Nearness(NamedTuple):
    """Distances of crops to the nearest place in training images.

    Attributes:
        generated, real: Median over generated and over real crops that the model has not seen: root of the mean squared
            difference, in units of the range of the pixels.
        nearer: Share of the generated crops that are nearer than all but `QUANTILE` of the real ones. About as much as
            `QUANTILE` if nothing is repeated.
    """

    generated: float
    real: float
    nearer: float


def shrink_factor(crop: tuple[int, int]) -> int:
    """Return the factor by which crops of (height, width) pixels are shrunk."""
    return max(1, min(crop) // THUMB)


def shrink(values: Values, factor: int) -> Values:
    """Return the means of squares of `factor` pixels per side; an incomplete last row or column is left out."""
    height, width = values.shape[0] // factor, values.shape[1] // factor
    squares = values[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    means: Values = squares.mean(axis=(1, 3), dtype=np.float32)
    return means


def places_of(size: tuple[int, int], crop: tuple[int, int]) -> int:
    """Return at how many places crops are laid in a window of (height, width) pixels."""
    factor = shrink_factor(crop)
    return sum(
        max(0, (size[0] - top) // factor - crop[0] // factor + 1)
        * max(0, (size[1] - left) // factor - crop[1] // factor + 1)
        for top, left in _offsets(size, crop, factor)
    )


class NearestSearch:
    """Finds the least distance of crops to windows of training images.

    Args:
        crops: Shrunk crops [i h w channels], see `shrink`.
        crop: (height, width) of the crops before, in pixels.
        turned: Whether to look for crops in all turns and mirrored.
    """

    def __init__(self, crops: Values, crop: tuple[int, int], turned: bool) -> None:
        self._crop, self._count = crop, len(crops)
        variants = list(_turns(crops)) if turned and crops.shape[1] == crops.shape[2] else [crops]
        self._thumb = crops.shape[1:3]
        self._queries = np.concatenate([each.reshape(len(crops), -1) for each in variants])
        self._norms = np.square(self._queries, dtype=np.float64).sum(axis=1)
        self._least = np.full(len(self._queries), np.inf)

    @property
    def most_places(self) -> int:
        """Largest number of places that `MOST_COMPARED` allows."""
        return max(1, MOST_COMPARED // len(self._queries))

    def add(self, window: Values) -> None:
        """Compare the crops with all places of a window, which is as large as a crop or larger."""
        factor = shrink_factor(self._crop)
        for top, left in _offsets((window.shape[0], window.shape[1]), self._crop, factor):
            self._add_shrunk(shrink(window[top:, left:], factor))

    def distances(self) -> Distances:
        """Return the distance of each crop, over its turns; infinity if no window was added."""
        squares = self._least.reshape(-1, self._count).min(axis=0) / self._queries.shape[1]
        distances: Distances = np.sqrt(squares.clip(min=0))
        return distances

    def _add_shrunk(self, image: Values) -> None:
        places = sliding_window_view(image, self._thumb, axis=(0, 1))  # [rows columns channels h w]
        for row in places:
            vectors = np.moveaxis(row, 1, -1).reshape(len(row), -1)
            norms = np.square(vectors, dtype=np.float64).sum(axis=1)
            squares = self._norms[:, None] + norms - 2 * (self._queries @ vectors.T)
            np.minimum(self._least, squares.min(axis=1), out=self._least)


def nearness(generated: Distances, real: Distances) -> Nearness:
    """Compare the distances of generated and of real crops to training images."""
    limit = np.quantile(real, QUANTILE)
    return Nearness(float(np.median(generated)), float(np.median(real)), float(np.mean(generated < limit)))


def _offsets(size: tuple[int, int], crop: tuple[int, int], factor: int) -> Iterable[tuple[int, int]]:
    """Return the (top, left) offsets of the grids of shrunk pixels at which a crop fits into a window."""
    steps = sorted({phase * factor // PHASES for phase in range(PHASES)})
    return [(top, left) for top in steps for left in steps if top + crop[0] <= size[0] and left + crop[1] <= size[1]]


def _turns(crops: Values) -> Iterator[Values]:
    for quarters in range(4):
        turned = np.rot90(crops, quarters, axes=(1, 2))
        yield turned
        yield turned[:, :, ::-1]
