"""Where the pixels of an image lie on the Earth, as GeoTIFF says it (OGC 19-008r4). Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RASTER_TYPE_KEY, PIXEL_IS_POINT = 1025, 2
"""GTRasterTypeGeoKey: raster coordinates are those of corners of pixels (1; also without it) or of their middles."""

DOUBLES_TAG, TEXT_TAG = 34736, 34737
"""Tags that values of keys lie in: GeoDoubleParams and GeoAsciiParams."""

MOST_TIEPOINTS, MOST_KEYS = 10_000, 1000
"""More than surveyors give, and than there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeoReference:
    """The tags of a GeoTIFF that place its raster and name the coordinate system.

    A raster point (column I, row J) lies at `tiepoint + (point - its raster point) * scale`, rows downwards, or where
    the transformation says; or between several tiepoints.

    Attributes:
        scale: ModelPixelScale: (x, y, z) units of the coordinate system per pixel; empty for none.
        tiepoints: ModelTiepoint: (I, J, K, X, Y, Z) of each; empty for none.
        transformation: ModelTransformation: a 4 x 4 matrix from (I, J, K, 1) to (X, Y, Z, 1), row by row; or empty.
        keys: GeoKeyDirectory: (version, revision, minor, count), then (key, tag, count, value or place) of each; or
            empty for an unknown coordinate system.
        doubles, text: GeoDoubleParams and GeoAsciiParams: values of keys that do not fit into the directory.

    Raises:
        ValueError: It places no pixel, or contradicts itself.
    """

    scale: tuple[float, ...] = ()
    tiepoints: tuple[float, ...] = ()
    transformation: tuple[float, ...] = ()
    keys: tuple[int, ...] = ()
    doubles: tuple[float, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.scale, *self.tiepoints, *self.transformation, *self.doubles))):
            raise ValueError("a georeference must be of finite numbers")
        if len(self.scale) not in (0, 3) or len(self.transformation) not in (0, 16) or len(self.tiepoints) % 6:
            raise ValueError("scale, transformation or tiepoints of a georeference are incomplete")
        if not (self.tiepoints or self.transformation) or 0 in self.scale[:2]:
            raise ValueError("a georeference must place pixels")
        if len(self.tiepoints) > 6 * MOST_TIEPOINTS or not self.text.isascii() or "\0" in self.text:
            raise ValueError("tiepoints or texts of a georeference are none")
        self._check_keys()

    def _check_keys(self) -> None:
        count, rest = divmod(len(self.keys), 4)
        if not self.keys:
            return
        if rest or self.keys[3] != count - 1 or count > MOST_KEYS or not 0 <= min(self.keys) <= max(self.keys) < 2**16:
            raise ValueError("the keys of a georeference are no directory")
        # The count of a text may include the NUL at its end.
        lengths = {DOUBLES_TAG: len(self.doubles), TEXT_TAG: len(self.text) + 1}
        for first in range(4, len(self.keys), 4):
            _, tag, values, place = self.keys[first : first + 4]
            if tag in lengths and place + values > lengths[tag]:
                raise ValueError("a key of a georeference has no value")

    def cropped(self, top: int, left: int) -> GeoReference | None:
        """Of a part of the image that begins so many pixels further down and to the right; None beyond all numbers."""
        return self._mapped(1.0, 1.0, left, top)

    def resized(self, before: tuple[int, int], after: tuple[int, int]) -> GeoReference | None:
        """Of the same part of the Earth in other pixels: (height, width) `after` instead of `before`; None as above."""
        across, down = after[1] / before[1], after[0] / before[0]
        # The middle of the first pixel is not the corner where they begin.
        middle = 0.5 if self._of_middles else 0.0
        return self._mapped(across, down, middle / across - middle, middle / down - middle)

    @property
    def _of_middles(self) -> bool:
        """Whether raster coordinates are those of the middles of pixels."""
        return any(
            self.keys[first] == RASTER_TYPE_KEY and self.keys[first + 3] == PIXEL_IS_POINT
            for first in range(4, len(self.keys), 4)
        )

    def _mapped(self, across: float, down: float, left: float, top: float) -> GeoReference | None:
        """Of raster points I' = (I - left) across, J' = (J - top) down instead of I and J."""
        tiepoints = list(self.tiepoints)
        tiepoints[0::6] = [(column - left) * across for column in tiepoints[0::6]]
        tiepoints[1::6] = [(row - top) * down for row in tiepoints[1::6]]
        rows = [self.transformation[first : first + 4] for first in range(0, len(self.transformation), 4)]
        matrix = [(i / across, j / down, k, one + i * left + j * top) for i, j, k, one in rows]
        scale = (self.scale[0] / across, self.scale[1] / down, self.scale[2]) if self.scale else ()
        transformation = tuple(value for row in matrix for value in row)
        try:
            return replace(self, scale=scale, tiepoints=tuple(tiepoints), transformation=transformation)
        except ValueError:
            return None
