"""Draws a few positions of each class while the labels of an image are read. numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import LARGEST_VALUE, MOST_CLASSES
from fitcli.annotations.label_values import Value
from fitcli.images.window import Window

POSITIONS = 32
"""Most positions of a class in an image."""

MOST_POSITIONS = 1024
"""Most positions of an image: with more than 32 classes, each has fewer."""

Positions = NDArray[np.int64]
"""(row, column) of pixels, [n 2]."""


class ClassPositions:
    """Draws positions by class: all pixels of a class are equally likely.

    The positions follow from the labels in the order in which they are read. How the rows are cut into strips does not
    matter.
    """

    def __init__(self) -> None:
        self._classes: dict[int, _Reservoir] = {}
        self._too_many = False

    def add(self, labels: NDArray[Any], window: Window, counts: Mapping[Value, int]) -> None:
        """Take the labels of a window.

        Args:
            labels: Values [height width 1].
            window: Window of the image that they fill, in pixels.
            counts: Number of pixels by value; pixels of other values are passed over.
        """
        classes = {value: counts[value] for value in counts if isinstance(value, int) and 0 <= value <= LARGEST_VALUE}
        # These are not the classes of a model. 255 is no class, unless a class has it.
        self._too_many |= len(self._classes.keys() | classes.keys()) > MOST_CLASSES + 1
        if self._too_many:
            self._classes.clear()
            return
        for value, count in classes.items():
            reservoir = self._classes.setdefault(value, _Reservoir(value))
            if drawn := list(reservoir.draw(count)):
                pixels = np.flatnonzero(labels == value)
                for slot, number in drawn:
                    row, column = divmod(int(pixels[number]), window.width)
                    reservoir.positions[slot] = window.top + row, window.left + column

    def found(self) -> dict[Value, Positions]:
        """Return the positions of each class that was met, from top to bottom."""
        most = max(1, min(POSITIONS, MOST_POSITIONS // max(1, len(self._classes))))
        return {value: _thinned(reservoir.positions, most) for value, reservoir in self._classes.items()}


class _Reservoir:
    """Draws up to `POSITIONS` of a sequence of unknown length (Li 1994, doi:10.1145/198429.198435, algorithm L).

    Args:
        seed: Seed of the choice.

    Attributes:
        positions: The positions, by slot.
    """

    def __init__(self, seed: int) -> None:
        self.positions: dict[int, tuple[int, int]] = {}
        self._rng = np.random.default_rng(seed)
        self._seen, self._next, self._filled = 0, 0, 0
        self._weight = 1.0

    def draw(self, count: int) -> Iterator[tuple[int, int]]:
        """Yield (slot, number) of those of the next `count` members, numbered from 0, that take a slot."""
        end = self._seen + count
        while self._next < end:
            slot = self._filled if self._filled < POSITIONS else int(self._rng.integers(POSITIONS))
            yield slot, self._next - self._seen
            self._filled = min(self._filled + 1, POSITIONS)
            self._next += 1 if self._filled < POSITIONS else self._step()
        self._seen = end

    def _step(self) -> int:
        """Return the distance to the next member that takes a slot."""
        self._weight *= (1.0 - self._rng.random()) ** (1 / POSITIONS)
        # A weight of 1 is possible in theory only; the logarithm has no value there.
        rest = math.log1p(-min(self._weight, 1 - 1e-15))
        return int(math.log(1.0 - self._rng.random()) / rest) + 1


def _thinned(positions: Mapping[int, tuple[int, int]], most: int) -> Positions:
    """Return at most `most` positions, sorted and evenly spaced."""
    ordered = sorted(positions.values())
    count = min(most, len(ordered))
    chosen = [ordered[number * len(ordered) // count] for number in range(count)]
    return np.array(chosen, np.int64).reshape(-1, 2)
