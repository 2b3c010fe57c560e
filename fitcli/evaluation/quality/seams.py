"""Steps between neighbouring pixels across borders of groups and patches, over those elsewhere, on several levels.

A level is the image shrunk by a power of two: each pixel is the mean of a square, so that borders stay between pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.evaluation.quality.laplacian_pyramid import Values
from fitcli.images.window import Window
from fitcli.tasks.image_sampler import CutSides

MOST_LEVELS = 5
"""Most levels on which steps are compared."""

STRIP = 512
"""Least side of the windows that are read, in pixels."""


class SeamLevel(NamedTuple):
    """Mean steps across borders over the mean step inside, on one level; 1 if borders leave no trace.

    Attributes:
        level: Number of the level: images are shrunk by 2 to this power.
        groups: Across borders of groups; None if images have none, or steps nowhere else.
        patches: Across borders of patches that are none of groups; None if there are none on this level.
    """

    level: int
    groups: float | None
    patches: float | None


@dataclass(slots=True)
class SeamCounter:
    """Sums the steps of images.

    Attributes:
        borders: Sides of groups and patches in pixels; the first group begins at the upper left corner of an image.
    """

    borders: CutSides
    _sums: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        # Sum and number of the steps [level kind 2], by the kinds of `_kinds`.
        self._sums = np.zeros((self.levels, 3, 2))

    @property
    def levels(self) -> int:
        """Number of levels on which borders of groups lie between pixels, with pixels inside."""
        fitting = (n for n in range(MOST_LEVELS) if not all(_splits(side, n) for side in self.borders.group))
        return max(1, next(fitting, MOST_LEVELS))

    def add(self, size: tuple[int, int], read: Callable[[Window], Values]) -> None:
        """Add an image of (height, width) pixels, reading it window by window. Steps from or to NaN do not count."""
        top = 1 << (self.levels - 1)
        for window in self._windows(size):
            # One pixel of the coarsest level more, for the steps across the lower and the right edge.
            wide = Window(window.top, window.left, window.height + top, window.width + top).clip(*size)
            self._add_window(read(wide), (window.height, window.width))

    def result(self) -> list[SeamLevel]:
        """Return the steps on each level."""
        means = [[float(total / count) if count else None for total, count in kinds] for kinds in self._sums]
        return [
            SeamLevel(level, _ratio(groups, inside), _ratio(patches, inside))
            for level, (groups, patches, inside) in enumerate(means)
        ]

    def _windows(self, size: tuple[int, int]) -> Iterator[Window]:
        height, width = (-(-STRIP // side) * side for side in self._period())
        for top in range(0, size[0], height):
            for left in range(0, size[1], width):
                yield Window(top, left, height, width).clip(*size)

    def _period(self) -> tuple[int, int]:
        top = 1 << (self.levels - 1)
        return math.lcm(self.borders.group[0], top), math.lcm(self.borders.group[1], top)

    def _add_window(self, values: Values, size: tuple[int, int]) -> None:
        """Add the steps that begin within the upper left `size` of a window."""
        image = values
        for level in range(self.levels):
            if level:
                image = _shrink(image)
            for axis in (0, 1):
                own = [-(-side // (1 << level)) for side in size]
                steps = np.abs(np.diff(image, axis=axis))
                cut: list[Any] = [slice(None), slice(None)]
                cut[axis], cut[1 - axis] = slice(0, own[axis]), slice(0, own[1 - axis])
                steps = steps[tuple(cut)]
                lines = np.asarray(np.nansum(steps, axis=(1 - axis, 2), dtype=np.float64))
                counts = np.isfinite(steps).sum(axis=(1 - axis, 2))
                for kind, chosen in enumerate(self._kinds(len(lines), level, axis)):
                    self._sums[level, kind, 0] += lines[chosen].sum()
                    self._sums[level, kind, 1] += counts[chosen].sum()

    def _kinds(self, count: int, level: int, axis: int) -> list[NDArray[np.bool_]]:
        """Return which of the steps from pixel k to k + 1 cross a border of groups, one of patches, or none."""
        following = (np.arange(count) + 1) << level
        group = following % self.borders.group[axis] == 0
        patch = np.zeros(count, np.bool_)
        if _splits(self.borders.patch[axis], level):
            patch = (following % self.borders.patch[axis] == 0) & ~group
        return [group, patch, ~group & ~patch]


def _splits(side: int, level: int) -> bool:
    """Return whether borders of this side lie between pixels of a level, with pixels in between."""
    return side % (1 << level) == 0 and side >> level >= 2


def _shrink(values: Values) -> Values:
    """Return the means of squares of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = values.shape[0] // 2, values.shape[1] // 2
    squares = values[: 2 * height, : 2 * width].reshape(height, 2, width, 2, values.shape[2])
    means: Values = squares.mean(axis=(1, 3), dtype=np.float32)
    return means


def _ratio(step: float | None, inside: float | None) -> float | None:
    return None if step is None or not inside else step / inside
