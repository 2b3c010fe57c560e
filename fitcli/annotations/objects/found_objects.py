"""Defines the objects that a model found in an image, as writers take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats


@dataclass(frozen=True, slots=True)
class FoundObjects:
    """Objects in pixels of an image.

    Attributes:
        boxes: (left, top, right, bottom) [n 4]; a point has no width and height.
        scores: Scores in 0 ... 1, [n].
        numbers: Class numbers, [n].
        are_points: Whether objects are points.
    """

    boxes: Floats
    scores: NDArray[np.float32]
    numbers: NDArray[np.int32]
    are_points: bool

    def __len__(self) -> int:
        return len(self.scores)

    def scaled(self, across: float, down: float) -> FoundObjects:
        """Return the objects in other pixels: so many per pixel along each axis."""
        boxes = self.boxes * np.array([across, down, across, down])
        return FoundObjects(boxes, self.scores, self.numbers, self.are_points)
