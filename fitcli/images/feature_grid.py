"""Describes images of features: each pixel, a place, holds the features of one patch of a slide.

Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from fitcli.errors import ImageError

FINEST = 16
"""Largest number of pixels per side that a layer has for one place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureGrid:
    """The places of an image of features, and where they lie on their slide.

    Without a slide, `side` is 1, and places are the pixels themselves.

    Attributes:
        side: Distance of two places, in level-0 pixels of the slide.
        left, top: Level-0 pixels of the slide on the left of the first column and above the first row.
        slide: (height, width) of the slide in level-0 pixels; None if unknown.
        mpp: Microns per level-0 pixel of the slide; None if the file does not state it.
        magnification: Objective power of level 0; None if unknown.
        patch: Side of a patch in level-0 pixels; patches overlap if it is more than `side`. None if unknown.
        states_patch: Whether the file states `patch`; otherwise, it is the distance of the patches.
        missing: Number of places without features; None if it is not known without reading them.
        moved: Number of patches off the grid, which count for the nearest place.
        dropped: Number of patches that are left out, because another one has their place.
    """

    side: float = 1.0
    left: float = 0.0
    top: float = 0.0
    slide: tuple[int, int] | None = None
    mpp: float | None = None
    magnification: float | None = None
    patch: float | None = None
    states_patch: bool = False
    missing: int | None = None
    moved: int = 0
    dropped: int = 0

    def crop(self, top: float, left: float) -> FeatureGrid:
        """Return the grid without its first `top` rows and `left` columns of places."""
        shifted = replace(self, top=self.top + top * self.side, left=self.left + left * self.side)
        return shifted if (top, left) == (0, 0) else replace(shifted, missing=None)

    def resize(self, factor: float) -> FeatureGrid:
        """Return the grid with places that are `factor` times as large."""
        return self if factor == 1 else replace(self, side=self.side * factor, missing=None)

    @property
    def nominal_mpp(self) -> float | None:
        """Microns per level-0 pixel; if they are not stated, 10 divided by the objective power, as is usual."""
        if self.mpp is not None:
            return self.mpp
        return None if self.magnification is None else 10 / self.magnification


class LayerFrame(NamedTuple):
    """The pixels of a layer that lies over a whole slide.

    Attributes:
        height, width: Size of the layer.
        top, left: Pixels of the layer above the first row of places and on the left of the first column.
        repeat: Pixels of the layer per side of a place.
        side: Level-0 pixels of the slide per pixel of the layer.
    """

    height: int
    width: int
    top: int
    left: int
    repeat: int
    side: float


def layer_frame(grid: FeatureGrid, size: tuple[int, int]) -> LayerFrame:
    """Return the frame of a layer that begins at the upper left corner of the slide.

    Its pixels are places, or whole parts of places where the grid does not begin at a multiple of their side. At most
    `FINEST` of them are as long as a place: beyond, the corner is rounded.

    Args:
        grid: The places.
        size: (rows, columns) of places.
    """
    starts = (grid.top / grid.side, grid.left / grid.side)
    repeat = next((n for n in range(1, FINEST) if all(_is_whole(start * n) for start in starts)), FINEST)
    side = grid.side / repeat
    top, left = (max(0, round(start * repeat)) for start in starts)
    height, width = top + size[0] * repeat, left + size[1] * repeat
    if grid.slide is not None:
        # A part of the last row of patches may lie beyond the slide, whose rest shows no place.
        height, width = (
            max(own, math.ceil(whole / side)) for own, whole in zip((height, width), grid.slide, strict=True)
        )
    return LayerFrame(height, width, top, left, repeat, side)


def stated_mpp(path: Path, value: Any) -> float | None:
    """Return the microns per pixel that a file of `fit embed` states; None if it states none.

    Raises:
        ImageError: They are no number, or an impossible one.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ImageError(path, f"states the mpp {str(value)[:40]}, which is no number above 0; embed the image again")
    return float(value)


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6
